"""Several conditions on one page: rates over latency, the price of finding the language, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from asr_ray.contexts import chunk_ms
from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.gate import Gate
from asr_ray.evaluate.pages.latency import latency_curves, latency_plot
from asr_ray.evaluate.pages.tables import points
from asr_ray.evaluate.scoring.paired import PromptComparison
from asr_ray.evaluate.scoring.score import EvalReport
from asr_ray.report.numbers import counted
from asr_ray.report.page import render_page


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewData:
    """What an overview shows.

    Attributes:
        reports: condition -> model -> scores, the base first.
        gates: of the conditions that were compared.
        speeds: condition -> model -> seconds of audio per second of an actor.
        prompts: (condition of the forced prompt, model) -> what `auto` costs.
    """

    created: datetime
    reports: Mapping[Condition, Mapping[str, EvalReport]]
    gates: Mapping[Condition, Gate]
    speeds: Mapping[Condition, Mapping[str, float]]
    prompts: Mapping[tuple[Condition, str], PromptComparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Conditions that differ in their context alone, by rising latency.

    Attributes:
        plot: rates over latency of the base and the newest model; "" with one latency.
    """

    title: str
    conditions: Sequence[Condition]
    plot: Markup


def write_overview(path: Path, *, data: OverviewData) -> None:
    """Write the overview as one HTML file that leads to the report of each condition."""
    path.write_text(render_overview(data), encoding="utf-8")


def render_overview(data: OverviewData) -> str:
    """Return the overview as HTML."""
    names = list(next(iter(data.reports.values())))
    failed = {condition: gate.failed for condition, gate in data.gates.items() if gate.failed}
    return render_page(
        "overview.html",
        package=__package__,
        data=data,
        names=names,
        shown=_shown(names),
        series=_series(data, names),
        failed=failed,
        tagged=any(comparison.tags for comparison in data.prompts.values()),
        headline=_headline(data, failed=len(failed)),
        chunk_ms=chunk_ms,
        points=points,
    )


def _headline(data: OverviewData, *, failed: int) -> str:
    scored = counted(len(data.reports), "condition")
    if not data.gates:
        return f"{counted(len(next(iter(data.reports.values()))), 'model')} under {scored}."
    return (
        f"The gate fails under {failed} of {scored}." if failed else f"The gate passes under all of {scored}."
    )


def _shown(names: Sequence[str]) -> list[str]:
    """Return the base and the newest model: a plot of more is hard to read."""
    return list(dict.fromkeys([names[0], names[-1]]))


def _series(data: OverviewData, names: Sequence[str]) -> list[Series]:
    found = []
    for series in dict.fromkeys(condition.series for condition in data.reports):
        conditions = sorted(
            (each for each in data.reports if each.series == series),
            key=lambda each: chunk_ms(each.att_context_size),
        )
        curves = latency_curves({each.att_context_size: data.reports[each] for each in conditions})
        plot = latency_plot(curves, names=_shown(names)) if curves else ""
        title = f"{series.data}: {series.mode}, {series.prompt_in_words}"
        # The SVG writer has escaped its text.
        found.append(Series(title=title, conditions=conditions, plot=Markup(plot)))
    return found
