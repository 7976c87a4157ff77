"""A report as Markdown: for a pull request, a chat, a wiki."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from asr_ray.evaluate.gate import Gate
from asr_ray.evaluate.pages.report import ReportData, guard_sentence, headline
from asr_ray.evaluate.pages.tables import markdown_table, points
from asr_ray.report.numbers import percent

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def plain(text: str) -> str:
    """Return text that Markdown and the HTML in it leave as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, num_left: int = 1) -> str:
    """Return a Markdown table, ending with a line break; its cells are Markdown already.

    Args:
        num_left: so many columns begin at the left, the others are numbers.
    """
    rule = ["---"] * num_left + ["---:"] * (len(heads) - num_left)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [heads, rule, *rows])


def report_markdown(data: ReportData) -> str:
    """Return headline, table, gate and facts of a report."""
    names = [plain(name) for name in data.reports]
    parts = [f"# {plain(data.title)}\n", f"**{plain(headline(data))}**\n"]
    parts += [f"{plain(text)}\n" for text in (guard_sentence(data), data.decoding) if text]
    parts.append(markdown_table(data.rows, names=names))
    if data.gate:
        parts.append(gate_markdown(data.gate))
    parts.append("".join(f"- {plain(name)}: {plain(value)}\n" for name, value in data.facts.items()))
    return "\n".join(parts)


def gate_markdown(gate: Gate) -> str:
    """Return the verdict of a gate with everything that failed."""
    if not gate.failed:
        return f"Gate against {plain(gate.baseline)}: passed.\n"
    rows = [
        [
            plain(each.what),
            percent(each.before),
            percent(each.after),
            points(each.delta),
            points(each.limit, digits=1),
        ]
        for each in gate.failed
    ]
    return f"Gate against {plain(gate.baseline)}: **failed**.\n\n" + table(
        ["what", "before", "after", "change, points", "limit"], rows
    )
