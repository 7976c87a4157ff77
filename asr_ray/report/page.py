"""One HTML file that is complete in itself: style inside, plots as SVG, nothing fetched, no script.

All text that comes from data is escaped by the template engine and the SVG writer. A content security policy
in the page forbids what nobody should have put there.
"""

from __future__ import annotations

import importlib.resources

import jinja2

from asr_ray.report.numbers import audio_time, counted, percent

_BASE = "base.html"


def render_page(template: str, *, package: str, **context: object) -> str:
    """Return a page as HTML.

    Args:
        template: file name of a Jinja template that extends `base.html`: blocks title, style, content.
        package: package that the template stands in.
        context: what the template speaks of; a name that is missing is an error.
    """
    sources = {_BASE: _read(__package__, _BASE), template: _read(package, template)}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": percent, "audio_time": audio_time, "counted": counted}
    return environment.get_template(template).render(**context)


def _read(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
