"""The drawings of the data report, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asr_ray.data.checks.profile import Histogram, LocaleProfile, Spread
from asr_ray.data.checks.summary import Prepared
from asr_ray.report.numbers import counted
from asr_ray.report.svg import Canvas, Scale, round_ticks

NUM_SERIES_COLOURS = 6
"""How many `series-N` colours the style sheet defines."""

_WIDTH = 1040.0
_LEFT, _RIGHT = 76.0, 200.0
_HOURS_AT = _WIDTH - 96.0
_ROW = 34.0


def hours_plot(prepared: Sequence[Prepared]) -> str:
    """Draw the hours of each locale, one part per source, most hours first."""
    locales: dict[str, list[Prepared]] = {}
    for each in prepared:
        locales.setdefault(each.locale, []).append(each)
    ranked = sorted(locales.items(), key=lambda item: -_hours(item[1]))
    unit, per_hour = _unit(_hours(ranked[0][1]))
    ticks = round_ticks(_hours(ranked[0][1]) * per_hour, count=8)
    top, bottom = 28.0, 28.0 + _ROW * len(ranked)
    canvas = Canvas(_WIDTH, bottom + 30, label=f"{unit} of speech per locale and source")
    scale = Scale(0.0, ticks[-1], _LEFT, _WIDTH - _RIGHT)
    for tick in ticks:
        canvas.line(scale(tick), top, scale(tick), bottom, css="grid")
        canvas.text(scale(tick), bottom + 20, f"{tick:,g}", css="tick", anchor="middle")
    for x, head in ((_HOURS_AT, unit), (_WIDTH, "utterances")):
        canvas.text(x, 16, head, css="tick", anchor="end")
    colours = colour_of_source(prepared)
    for index, (locale, parts) in enumerate(ranked):
        middle = top + _ROW * (index + 0.5)
        canvas.text(_LEFT - 14, middle + 5, locale, css="row-label", anchor="end")
        _stack(canvas, parts, colours=colours, scale=scale, middle=middle, unit=(unit, per_hour))
        amount, utterances = _hours(parts) * per_hour, sum(part.utterances for part in parts)
        canvas.text(_HOURS_AT, middle + 5, f"{amount:,.1f}", css="value strong", anchor="end")
        canvas.text(_WIDTH, middle + 5, f"{utterances:,}", css="value", anchor="end")
    return canvas.render()


def _stack(
    canvas: Canvas,
    parts: Sequence[Prepared],
    *,
    colours: Mapping[str, int],
    scale: Scale,
    middle: float,
    unit: tuple[str, float],
) -> None:
    """Draw the sources of a locale side by side, the order of colours from left to right."""
    start, (name, per_hour) = 0.0, unit
    for part in sorted(parts, key=lambda part: (colours[part.source], part.source)):
        amount = part.hours * per_hour
        hint = f"{part.locale}, {part.source}: {amount:,.1f} {name}"
        left, right = scale(start), scale(start + amount)
        css = f"part series-{colours[part.source]}"
        canvas.rect(left, middle - 9, right - left, 18, css=css, radius=2, hint=hint)
        start += amount


def colour_of_source(prepared: Sequence[Prepared]) -> dict[str, int]:
    """Return the colour of each source, most hours first; sources beyond the colours share the last one."""
    hours: dict[str, float] = {}
    for each in prepared:
        hours[each.source] = hours.get(each.source, 0.0) + each.hours
    ranked = sorted(hours, key=lambda source: (-hours[source], source))
    return {source: min(rank, NUM_SERIES_COLOURS - 1) for rank, source in enumerate(ranked)}


def legend(colours: Mapping[str, int]) -> dict[str, int]:
    """Return label -> colour; sources that share a colour are counted, not named."""
    last = [source for source, colour in colours.items() if colour == NUM_SERIES_COLOURS - 1]
    if len(last) < 2:
        return dict(colours)
    named = {source: colour for source, colour in colours.items() if source not in set(last)}
    return named | {counted(len(last), "smaller source"): NUM_SERIES_COLOURS - 1}


def duration_plot(histogram: Histogram) -> str:
    """Draw how many utterances have which length."""
    width, height, left, right = 500.0, 290.0, 58.0, 12.0
    bottom = height - 40
    canvas = Canvas(width, height, label="Utterances by length")
    vertical = round_ticks(max(histogram.counts), count=4)
    longest_s = len(histogram.counts) * histogram.width_s
    across = Scale(0.0, longest_s, left, width - right)
    upward = Scale(0.0, vertical[-1], bottom, 14)
    for tick in vertical:
        if tick == round(tick):
            canvas.line(left, upward(tick), across.end, upward(tick), css="grid")
            canvas.text(left - 8, upward(tick) + 4, f"{tick:,.0f}", css="tick", anchor="end")
    for index, count in enumerate(histogram.counts):
        start_s = index * histogram.width_s
        hint = f"{start_s:g} to {start_s + histogram.width_s:g} s: {counted(count, 'utterance')}"
        x = across(start_s)
        bar_width = across(start_s + histogram.width_s) - x - 1
        canvas.rect(x, upward(count), bar_width, bottom - upward(count), css="bar", radius=1.5, hint=hint)
    for tick in round_ticks(longest_s, count=6):
        if tick <= longest_s * 1.0001:
            canvas.text(across(tick), bottom + 18, f"{tick:g}", css="tick", anchor="middle")
    canvas.text(across.end, bottom + 34, "seconds", css="tick", anchor="end")
    return canvas.render()


def density_plot(locales: Sequence[LocaleProfile]) -> str:
    """Draw characters and tokens per second of each locale: nine in ten utterances, and the median."""
    half = (_WIDTH - _LEFT - 30) / 2
    bottom = 34 + _ROW * len(locales)
    canvas = Canvas(_WIDTH, bottom + 30, label="Characters and tokens per second, per locale")
    panels = (
        ("characters per second", [each.characters_per_s for each in locales], _LEFT),
        ("tokens per second", [each.tokens_per_s for each in locales], _LEFT + half + 30),
    )
    for index, each in enumerate(locales):
        canvas.text(_LEFT - 14, 34 + _ROW * (index + 0.5) + 5, each.locale, css="row-label", anchor="end")
    for title, spreads, left in panels:
        names = [each.locale for each in locales]
        _density_panel(canvas, title, dict(zip(names, spreads, strict=True)), left=left, right=left + half)
    return canvas.render()


def _density_panel(
    canvas: Canvas, title: str, spreads: dict[str, Spread], *, left: float, right: float
) -> None:
    bottom = 34 + _ROW * len(spreads)
    ticks = round_ticks(max(each.high for each in spreads.values()), count=5)
    scale = Scale(0.0, ticks[-1], left, right - 52)
    canvas.text(left, 18, title, css="panel-title")
    canvas.text(right, 18, "median", css="tick", anchor="end")
    for tick in ticks:
        canvas.line(scale(tick), 28, scale(tick), bottom, css="grid")
        canvas.text(scale(tick), bottom + 20, f"{tick:g}", css="tick", anchor="middle")
    for index, (locale, each) in enumerate(spreads.items()):
        middle = 34 + _ROW * (index + 0.5)
        hint = f"{locale}: {each.low:.1f} to {each.high:.1f} {title}, median {each.median:.1f}"
        low, high = scale(each.low), scale(each.high)
        canvas.rect(low, middle - 6, high - low, 12, css="range", radius=3, hint=hint)
        canvas.circle(scale(each.median), middle, 5.5, css="median", hint=hint)
        canvas.text(right, middle + 5, f"{each.median:.1f}", css="value strong", anchor="end")


def _hours(parts: Sequence[Prepared]) -> float:
    return sum(part.hours for part in parts)


def _unit(most_hours: float) -> tuple[str, float]:
    """Return the unit that reads well for the longest bar, and how many of it make an hour."""
    return ("hours", 1.0) if most_hours >= 1.5 else ("minutes", 60.0)
