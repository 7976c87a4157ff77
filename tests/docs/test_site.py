"""How the site is put together: links that leave docs/, and a navigation that fits what is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Element -> the attribute that names what a browser fetches by itself."""
MERE_NAMES = {"canonical", "next", "prev"}


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / ".ci" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "folder", "markdown", "expected"),
    [
        ("cluster.md", "docs", "[a](../cluster/README.md)", "[a](targets.md)"),
        ("cluster.md", "docs", "[a](security.md#the-token)", "[a](security.md#the-token)"),
        ("index.md", ".", "[a](docs/cluster.md) [b](cluster/)", "[a](cluster.md) [b](targets.md)"),
        ("index.md", ".", "![a](docs/report.png)", "![a](report.png)"),
        ("targets.md", "cluster", "[local.sh](local.sh)", "`cluster/local.sh`"),
        ("guides/domain.md", "docs/guides", "[a](../scale.md)", "[a](../scale.md)"),
        ("cluster.md", "docs", "[a](https://x.org/y.md) [b](#c)", "[a](https://x.org/y.md) [b](#c)"),
        ("cluster.md", "docs", "[a](missing.md)", "[a](missing.md)"),
    ],
)
def test_links_point_into_the_site(
    site: ModuleType, page: str, folder: str, markdown: str, expected: str
) -> None:
    assert site.relinked(markdown, folder=ROOT / folder, page=page) == expected


def test_the_navigation_leaves_out_what_is_missing_and_adds_what_was_forgotten(site: ModuleType) -> None:
    nav: list[Any] = [
        {"A": "a.md"},
        {"Group": [{"B": "b.md"}, {"C": "c.md"}]},
        {"Empty": [{"D": "d.md"}]},
        {"Reference": "reference/"},
    ]
    there = {"a.md", "c.md", "z.md", "reference/data.md"}
    assert site.present(nav, there=there) == [
        {"A": "a.md"},
        {"Group": [{"C": "c.md"}]},
        {"Reference": [{"data": "reference/data.md"}]},
        {"More": ["z.md"]},
    ]


def test_every_package_is_in_the_reference(site: ModuleType) -> None:
    packages = {path.parent.name for path in (ROOT / "asr_ray").glob("*/__init__.py")}
    # Pages of reports are no interface for others.
    assert packages - {"report"} <= set(site.LAYERS)


class Loaded(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADING and given.get("rel") not in MERE_NAMES and given.get(LOADING[tag]):
            self.urls.append(str(given[LOADING[tag]]))


@pytest.mark.slow
def test_the_pages_load_nothing_from_other_hosts(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        check=True,
    )
    for page in tmp_path.rglob("*.html"):
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        assert not [url for url in parser.urls if "//" in url], page
    for style in tmp_path.rglob("*.css"):
        assert not re.findall(
            r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")
        ), style
