"""What patience buys: error rates over the latency of the contexts that were scored. Data and drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asr_ray.contexts import AttContextSize, chunk_ms
from asr_ray.evaluate.scoring.bootstrap import Interval
from asr_ray.evaluate.scoring.score import EvalReport
from asr_ray.locales import unit_of
from asr_ray.report.numbers import percent
from asr_ray.report.svg import Canvas, Scale, round_ticks

_WIDTH = 1040.0
_COLUMNS = 4
_PANEL_HEIGHT = 176.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 14.0, 30.0, 28.0
_MARGIN = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPoint:
    """One model at one context.

    Attributes:
        chunk_ms: what the first frame of a chunk waits at most; computing and network come on top.
    """

    chunk_ms: int
    rate: float
    ci95: Interval


Curves = Mapping[str, Mapping[str, Sequence[LatencyPoint]]]
"""Locale -> model -> points, by rising latency."""


def latency_curves(scored: Mapping[AttContextSize, Mapping[str, EvalReport]]) -> Curves:
    """Return the curve of each locale and model; empty with fewer than two latencies.

    Args:
        scored: context -> model -> scores, all under conditions that are otherwise the same.
    """
    contexts = sorted(scored, key=chunk_ms)
    if len({chunk_ms(context) for context in contexts}) < 2:
        return {}
    reports = scored[contexts[0]]
    return {
        locale: {
            model: [_point(context, scored[context][model], locale) for context in contexts]
            for model in reports
        }
        for locale in next(iter(reports.values())).locales
    }


def latency_plot(curves: Curves, *, names: Sequence[str]) -> str:
    """Draw a small panel for each locale, each on a scale of its own that begins at 0.

    Args:
        names: of one or two models, the newest last.
    """
    latencies = [point.chunk_ms for point in next(iter(curves.values()))[names[0]]]
    # Few panels share the width, but one alone would be nothing but width.
    columns = min(_COLUMNS, max(len(curves), 2))
    rows = math.ceil(len(curves) / columns)
    canvas = Canvas(_WIDTH, rows * _PANEL_HEIGHT, label=f"Error rate against latency: {', '.join(names)}")
    for index, (locale, by_model) in enumerate(curves.items()):
        row, column = divmod(index, columns)
        panel = _Panel(
            left=column * _WIDTH / columns + _LEFT,
            right=(column + 1) * _WIDTH / columns - _RIGHT,
            top=row * _PANEL_HEIGHT + _TOP,
            bottom=(row + 1) * _PANEL_HEIGHT - _BOTTOM,
        )
        shown = {name: by_model[name] for name in names}
        _draw_panel(canvas, panel, locale=locale, shown=shown, latencies=latencies)
    return canvas.render()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    left: float
    right: float
    top: float
    bottom: float


def _draw_panel(
    canvas: Canvas,
    panel: _Panel,
    *,
    locale: str,
    shown: Mapping[str, Sequence[LatencyPoint]],
    latencies: Sequence[int],
) -> None:
    highest = max(point.ci95[1] for points in shown.values() for point in points)
    ticks = round_ticks(highest, count=3)
    upward = Scale(0.0, ticks[-1], panel.bottom, panel.top)
    # Each context doubles the latency or nearly so: equal steps, not equal milliseconds.
    margin = _MARGIN * (panel.right - panel.left)
    across = Scale(0.0, len(latencies) - 1, panel.left + margin, panel.right - margin)
    canvas.text(panel.left, panel.top - 12, locale, css="row-label")
    canvas.text(panel.right, panel.top - 12, unit_of(locale).upper(), css="row-note", anchor="end")
    digits = 1 if ticks[1] < 0.01 else 0
    for tick in ticks:
        canvas.line(panel.left, upward(tick), panel.right, upward(tick), css="grid")
        canvas.text(panel.left - 6, upward(tick) + 4, percent(tick, digits=digits), css="tick", anchor="end")
    for place, latency in enumerate(latencies):
        canvas.text(across(place), panel.bottom + 17, f"{latency:,}", css="tick", anchor="middle")
    for name, css in zip(shown, ["tuned"] if len(shown) == 1 else ["base", "tuned"], strict=True):
        _draw_curve(canvas, shown[name], name=name, css=css, across=across, upward=upward)


def _draw_curve(
    canvas: Canvas, points: Sequence[LatencyPoint], *, name: str, css: str, across: Scale, upward: Scale
) -> None:
    for place, point in enumerate(points):
        low, high = point.ci95
        canvas.rect(
            across(place) - 3, upward(high), 6, upward(low) - upward(high), css=f"interval {css}", radius=2
        )
    line = [(across(place), upward(point.rate)) for place, point in enumerate(points)]
    canvas.path(line, css=f"latency {css}")
    for place, point in enumerate(points):
        hint = f"{name} at {point.chunk_ms} ms: {percent(point.rate)}, 95% CI {percent(point.ci95[0])} to "
        canvas.circle(
            across(place), upward(point.rate), 4, css=f"mark {css}", hint=hint + percent(point.ci95[1])
        )


def _point(context: AttContextSize, report: EvalReport, locale: str) -> LatencyPoint:
    score = report.locales[locale]
    return LatencyPoint(chunk_ms=chunk_ms(context), rate=score.rate, ci95=score.ci95)
