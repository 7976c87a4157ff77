"""The plots of the report, as inline SVG. Rates are fractions in, percentages on the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asr_ray.evaluate.pages.tables import LocaleRow, points
from asr_ray.report.numbers import percent
from asr_ray.report.svg import Canvas, Scale, round_ticks

Curve = Sequence[tuple[int, float]]
"""(optimizer step, value), steps rising."""

NUM_SERIES_COLOURS = 6
"""How many `series-N` colours the style sheet defines."""

_WIDTH, _HALF_WIDTH = 1040.0, 500.0
_MAX_POINTS = 400
_LINE_HEIGHT = 16.0
MANY_ROWS = 12
"""Locales above which a page shows what matters and folds the rest."""
_WORST_GUARDS = 5


def rate_plot(rows: Sequence[LocaleRow], *, names: Sequence[str], max_guard_loss: float) -> str:
    """Draw each locale's error rate with its interval, one model to the next.

    For guards, the band from the base rate to the allowed loss is shaded.
    """
    top, left, right = 34.0, 118.0, _WIDTH - 235.0
    row_height = 46.0 if len(rows) <= MANY_ROWS else 34.0
    bottom = top + row_height * len(rows)
    canvas = Canvas(_WIDTH, bottom + 34, label=f"Error rate per locale: {', '.join(names)}")
    highest = max(score.ci95[1] for row in rows for score in (row.base, row.last))
    ticks = round_ticks(highest, count=8)
    scale = Scale(0.0, ticks[-1], left, right)
    for tick in ticks:
        canvas.line(scale(tick), top, scale(tick), bottom, css="grid")
        canvas.text(
            scale(tick), bottom + 20, percent(tick, digits=_digits(ticks)), css="tick", anchor="middle"
        )
    _gutter_heads(canvas, names)
    for index, row in enumerate(rows):
        _rate_row(canvas, row, scale, middle=top + row_height * (index + 0.5), max_guard_loss=max_guard_loss)
    return canvas.render()


def loss_plot(losses: Curve) -> str:
    """Draw the training loss, thin as measured and thick as its running mean."""
    measured = _thinned(losses)
    canvas, across, upward = _axes(
        [measured], height=300, right=20, label="Training loss per step", as_percent=False
    )
    canvas.path([(across(step), upward(value)) for step, value in measured], css="curve faint series-0")
    smooth = _running_mean(measured)
    canvas.path([(across(step), upward(value)) for step, value in smooth], css="curve series-0")
    return canvas.render()


def validation_plot(curves: Mapping[str, Curve], *, guards: Sequence[str]) -> str:
    """Draw the error rate of each locale during training; guards are dashed.

    Of many locales, only those that are tuned and the guards that lost most have a colour and a name.
    """
    named = _worth_naming(curves, guards=guards)
    height = max(300.0, 80 + _LINE_HEIGHT * len(named))
    canvas, across, upward = _axes(
        list(curves.values()), height=height, right=72, label="Validation error rate", as_percent=True
    )
    for locale in (tag for tag in curves if tag not in named):
        points = [(across(step), upward(rate)) for step, rate in curves[locale]]
        canvas.path(points, css="curve faint unnamed")
    ends = {locale: upward(curves[locale][-1][1]) for locale in named}
    label_heights = _spread(ends, spacing=_LINE_HEIGHT, highest=14, lowest=height - 34)
    for index, locale in enumerate(named):
        css = f"series-{index % NUM_SERIES_COLOURS}" + (" dashed" if locale in guards else "")
        curve = curves[locale]
        canvas.path([(across(step), upward(rate)) for step, rate in curve], css=f"curve {css}")
        for step, rate in _thinned(curve):
            canvas.circle(
                across(step),
                upward(rate),
                3,
                css=f"dot {css}",
                hint=f"{locale} at step {step:,}: {percent(rate)}",
            )
        canvas.text(across.end + 10, label_heights[locale] + 4, locale, css=f"series-label {css}")
    return canvas.render()


def _worth_naming(curves: Mapping[str, Curve], *, guards: Sequence[str]) -> list[str]:
    if len(curves) <= MANY_ROWS:
        return list(curves)
    rises = {tag: curve[-1][1] - curve[0][1] for tag, curve in curves.items() if tag in guards}
    worst = sorted(rises, key=lambda tag: -rises[tag])[:_WORST_GUARDS]
    return [tag for tag in curves if tag not in rises][:MANY_ROWS] + worst


def audio_plot(*, planned_s: Mapping[str, float], consumed_s: Mapping[str, float]) -> str:
    """Draw seconds of audio used per locale (bar) against the plan (mark)."""
    locales = list(dict.fromkeys([*planned_s, *consumed_s]))
    top, row_height, left, right = 8.0, 34.0, 118.0, _WIDTH - 235.0
    bottom = top + row_height * len(locales)
    highest = max(*planned_s.values(), *consumed_s.values(), 1.0)
    unit, seconds = ("hours", 3600.0) if highest >= 5400 else ("minutes", 60.0)
    canvas = Canvas(_WIDTH, bottom + 34, label=f"{unit} of audio per locale, consumed and planned")
    ticks = round_ticks(highest / seconds, count=8)
    scale = Scale(0.0, ticks[-1], left, right)
    for tick in ticks:
        canvas.line(scale(tick), top, scale(tick), bottom, css="grid")
        canvas.text(scale(tick), bottom + 20, f"{tick:g}", css="tick", anchor="middle")
    canvas.text(right + 16, bottom + 20, unit, css="tick")
    for index, locale in enumerate(locales):
        planned, consumed = planned_s.get(locale, 0.0) / seconds, consumed_s.get(locale, 0.0) / seconds
        middle = top + row_height * (index + 0.5)
        hint = f"{locale}: {consumed:,.2f} of {planned:,.2f} {unit} planned"
        canvas.text(left - 14, middle + 5, locale, css="row-label", anchor="end")
        canvas.rect(left, middle - 8, scale(consumed) - left, 16, css="bar", radius=3, hint=hint)
        canvas.line(scale(planned), middle - 12, scale(planned), middle + 12, css="plan-mark")
        canvas.text(right + 16, middle + 5, _consumed_label(consumed, planned), css="value")
    return canvas.render()


def _rate_row(canvas: Canvas, row: LocaleRow, scale: Scale, *, middle: float, max_guard_loss: float) -> None:
    canvas.text(scale.start - 14, middle - 1, row.locale, css="row-label", anchor="end")
    note = " · ".join(part for part in (row.unit.upper(), row.role if row.role != "other" else "") if part)
    canvas.text(scale.start - 14, middle + 13, note, css="row-note", anchor="end")
    if row.role == "guard" and row.tuned:
        start, end = scale(row.base.rate), min(scale(row.base.rate + max_guard_loss), scale.end)
        hint = f"allowed: up to {percent(row.base.rate + max_guard_loss)}"
        canvas.rect(start, middle - 15, end - start, 30, css="allowed", radius=2, hint=hint)
    if row.tuned:
        canvas.line(scale(row.base.rate), middle, scale(row.tuned.rate), middle, css="link")
    scores = {"base": row.base, "tuned": row.tuned} if row.tuned else {"tuned": row.base}
    for css, score in scores.items():
        if score is None:
            continue
        low, high = score.ci95
        hint = f"{row.locale}: {percent(score.rate)}, 95% CI {percent(low)} to {percent(high)}"
        canvas.rect(scale(low), middle - 6, scale(high) - scale(low), 12, css=f"interval {css}", radius=3)
        canvas.circle(scale(score.rate), middle, 5.5, css=f"mark {css}", hint=hint)
    _gutter_values(canvas, row, y=middle + 5)


def _gutter_heads(canvas: Canvas, names: Sequence[str]) -> None:
    columns = [_WIDTH - 158, _WIDTH - 82, _WIDTH - 4] if len(names) == 2 else [_WIDTH - 82]
    for x, head in zip(columns, [*names, "change"], strict=False):
        canvas.text(x, 20, head[:12], css="tick", anchor="end")


def _gutter_values(canvas: Canvas, row: LocaleRow, *, y: float) -> None:
    if row.tuned is None:
        canvas.text(_WIDTH - 82, y, percent(row.base.rate, digits=1), css="value strong", anchor="end")
        return
    verdict = row.paired.verdict.replace(" ", "-") if row.paired else ""
    canvas.text(_WIDTH - 158, y, percent(row.base.rate, digits=1), css="value", anchor="end")
    canvas.text(_WIDTH - 82, y, percent(row.tuned.rate, digits=1), css="value strong", anchor="end")
    change = points(row.tuned.rate - row.base.rate, digits=1)
    canvas.text(_WIDTH - 4, y, change, css=f"value strong {verdict}", anchor="end")


def _axes(
    curves: Sequence[Curve], *, height: float, right: float, label: str, as_percent: bool
) -> tuple[Canvas, Scale, Scale]:
    """Draw the frame shared by curves over steps; return it with its scales across and upward."""
    canvas = Canvas(_HALF_WIDTH, height, label=label)
    left, bottom = 52.0, height - 34
    vertical = round_ticks(max(value for curve in curves for _, value in curve))
    horizontal = round_ticks(max(curve[-1][0] for curve in curves))
    last_step = max(curve[-1][0] for curve in curves)
    across = Scale(0, max(last_step, 1), left, _HALF_WIDTH - right)
    upward = Scale(0, vertical[-1], bottom, 14)
    for tick in vertical:
        text = percent(tick, digits=_digits(vertical)) if as_percent else f"{tick:g}"
        canvas.line(left, upward(tick), across.end, upward(tick), css="grid")
        canvas.text(left - 8, upward(tick) + 4, text, css="tick", anchor="end")
    for tick in horizontal:
        if tick <= last_step:
            canvas.text(across(tick), bottom + 18, f"{tick:,.0f}", css="tick", anchor="middle")
    canvas.text(across.end, bottom + 31, "step", css="tick", anchor="end")
    return canvas, across, upward


def _digits(ticks: Sequence[float]) -> int:
    """Return 1 when ticks are closer than one percent, else 0."""
    return int(ticks[1] - ticks[0] < 0.01)


def _consumed_label(consumed: float, planned: float) -> str:
    if not planned:
        return f"{consumed:,.1f}, not planned"
    if not consumed:
        return f"0 of {planned:,.1f}: never used"
    return f"{consumed:,.1f} of {planned:,.1f} ({consumed / planned:.0%})"


def _thinned(curve: Curve) -> Curve:
    """Return at most `_MAX_POINTS` points, each the mean of its neighbours: a page, not a log."""
    size = -(-len(curve) // _MAX_POINTS)
    groups = [curve[start : start + size] for start in range(0, len(curve), max(size, 1))]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _running_mean(curve: Curve) -> Curve:
    """Return the mean over a window of about a tenth of the curve, centred so that it does not lag.

    The window shrinks at both ends, so the first and last points are as measured.
    """
    widest = len(curve) // 20
    smooth = []
    for index, (step, _) in enumerate(curve):
        reach = min(widest, index, len(curve) - 1 - index)
        window = curve[index - reach : index + reach + 1]
        smooth.append((step, sum(value for _, value in window) / len(window)))
    return smooth


def _spread(
    heights: Mapping[str, float], *, spacing: float, highest: float, lowest: float
) -> dict[str, float]:
    """Move labels apart until none overlaps, keeping their order from bottom to top.

    Heights are SVG's: `highest` is the smaller number. There must be room for all.
    """
    placed: dict[str, float] = {}
    limit = lowest
    for name, height in sorted(heights.items(), key=lambda item: -item[1]):
        placed[name] = min(height, limit)
        limit = placed[name] - spacing
    limit = highest
    for name in reversed(placed):
        placed[name] = max(placed[name], limit)
        limit = placed[name] + spacing
    return placed
