"""The plots of a sweep, as inline SVG: what was traded for what, and what each key did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asr_ray.report.numbers import audio_time, percent
from asr_ray.report.svg import Canvas, Scale
from asr_ray.sweep.deciding.advice import CurvePoint
from asr_ray.sweep.deciding.wording import short_key, shown, signed
from asr_ray.sweep.pages.frame import axes, plain_number, ticks_between
from asr_ray.sweep.ranges import Choice, Interval, Range

_WIDTH, _HALF = 1040.0, 500.0
_BEYOND_WIDTH = 190.0
"""Room that the words over what is beyond the limit need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One trial in the plots.

    Attributes:
        kind: css class: winner, baseline, broken, tied or trial.
        objective: lower is better.
        guard_change: largest rise of a guard's error rate over the base, in points (5.0 is five points).
        is_front: no trial is better in both.
    """

    name: str
    kind: str
    objective: float
    guard_change: float
    is_front: bool = False
    is_named: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One searched key of the parallel coordinates."""

    key: str
    range: Range | None
    low: float
    high: float

    def part(self, value: Any) -> float:
        """Return how far up a value lies, 0 to 1."""
        if isinstance(self.range, Choice):
            if value not in self.range.options:
                return 0.5
            return self.range.options.index(value) / max(1, len(self.range.options) - 1)
        if isinstance(self.range, Interval) and self.range.is_log:
            return min(max(self.range.part_of(max(float(value), 1e-30)), 0.0), 1.0)
        if self.high <= self.low:
            return 0.5
        return min(max((float(value) - self.low) / (self.high - self.low), 0.0), 1.0)

    def ends(self) -> tuple[str, str]:
        """Return what to write below and above."""
        if isinstance(self.range, Choice):
            return shown(self.range.options[0]), shown(self.range.options[-1])
        return shown(self.low), shown(self.high)


def pareto_front(dots: Sequence[Dot]) -> list[Dot]:
    """Return the trials that no other beats in one and equals in the other, by rising guard change."""
    front: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: (dot.guard_change, dot.objective, dot.name)):
        if not front or dot.objective < front[-1].objective:
            front.append(dot)
    return front


def pareto_plot(dots: Sequence[Dot], *, limit: float | None) -> str:
    """Draw objective against the worst guard; what lies beyond the limit is shaded.

    Args:
        limit: allowed rise of a guard, in points.
    """
    canvas = Canvas(_WIDTH, 400, label="Objective on the targets against the largest loss of a guard")
    changes = [0.0, *(dot.guard_change for dot in dots), *([limit] if limit is not None else [])]
    objectives = [dot.objective for dot in dots]
    pad = 0.06 * ((max(objectives) - min(objectives)) or 0.1)
    to_x, to_y = axes(
        canvas,
        across=ticks_between(min(changes), max(changes), count=8),
        upward=ticks_between(min(objectives) - pad, max(objectives) + pad),
        right=24,
        x_label=_points,
        y_label=plain_number,
        x_title="largest rise of a guard's error rate, points",
    )
    if limit is not None and limit < to_x.high:
        x = max(to_x(limit), to_x.start)
        canvas.rect(x, to_y.end, to_x.end - x, to_y.start - to_y.end, css="beyond")
        fits = to_x.end - x > _BEYOND_WIDTH
        told = f"beyond the limit of {limit:g} points"
        canvas.text(
            x + 8 if fits else x - 8, to_y.end + 16, told, css="tick", anchor="start" if fits else "end"
        )
    front = pareto_front(dots)
    steps: list[tuple[float, float]] = []
    for dot in front:
        if steps:
            steps.append((to_x(dot.guard_change), steps[-1][1]))
        steps.append((to_x(dot.guard_change), to_y(dot.objective)))
    if len(steps) > 1:
        canvas.path(steps, css="front")
    order = {"trial": 0, "broken": 0, "tied": 1, "baseline": 2, "winner": 3}
    taken: list[tuple[float, float]] = []
    for dot in sorted(dots, key=lambda dot: (order[dot.kind], dot.name)):
        x, y = to_x(dot.guard_change), to_y(dot.objective)
        guards = f"guards {_points(dot.guard_change)} points at most"
        hint = f"{dot.name}: objective {signed(dot.objective)}, {guards}"
        canvas.circle(x, y, 8 if dot.kind == "winner" else 6, css=f"trial {dot.kind}", hint=hint)
    for dot in sorted(dots, key=lambda dot: -order[dot.kind]):
        if dot.is_named:
            _name(canvas, dot, x=to_x(dot.guard_change), y=to_y(dot.objective), taken=taken, end=to_x.end)
    return canvas.render()


def share_plot(
    locale: str,
    *,
    points: Sequence[tuple[str, float, float]],
    curve: Sequence[CurvePoint],
    base: float,
    winner: float | None,
) -> str:
    """Draw the error rate of a locale over its share: trials as dots, the fitted curve with its interval.

    Args:
        points: (name, share, rate) of the trials.
        base: error rate of the untuned model.
        winner: share in the winning mix; None leaves it out.
    """
    canvas = Canvas(_HALF, 270, label=f"Error rate of {locale} over its share of the audio")
    band = [end for each in curve for end in (each.low, each.high)]
    rates = [*(rate for _, _, rate in points), *band]
    # Far above all trials, the base would leave the curve no room.
    is_near = base <= 1.5 * max(rates)
    shares = [*(share for _, share, _ in points), *(each.share for each in curve)]
    to_x, to_y = axes(
        canvas,
        across=ticks_between(0.0, max(shares)),
        upward=ticks_between(min(rates), max([*rates, base] if is_near else rates), count=4),
        right=20,
        x_label=lambda value: percent(value, digits=0),
        y_label=lambda value: percent(value, digits=1).replace(".0%", "%"),
        x_title="share of the seconds",
    )
    if curve:
        upper = [(to_x(each.share), to_y(each.high)) for each in curve]
        lower = [(to_x(each.share), to_y(each.low)) for each in reversed(curve)]
        canvas.path([*upper, *lower, upper[0]], css="band")
        canvas.path([(to_x(each.share), to_y(each.rate)) for each in curve], css="fit")
    height = to_y(base) - 5 if is_near else to_y.end + 10
    if is_near:
        canvas.line(to_x.start, to_y(base), to_x.end, to_y(base), css="base-line")
    where = "base" if is_near else "base, far above:"
    canvas.text(to_x.end, height, f"{where} {percent(base, digits=1)}", css="tick", anchor="end")
    if winner is not None:
        canvas.line(to_x(winner), to_y.start, to_x(winner), to_y.end, css="winner-line")
    for name, share, rate in points:
        hint = f"{name}: {percent(share, digits=1)} of the seconds, {percent(rate)}"
        canvas.circle(to_x(share), to_y(rate), 4, css="trial plain", hint=hint)
    return canvas.render()


def rung_plot(curves: Mapping[str, Sequence[tuple[float, float]]], *, kinds: Mapping[str, str]) -> str:
    """Draw the objective of each trial over the seconds of audio in its weights.

    Args:
        curves: name -> (seconds, objective), rising, without the untuned base, which stands at 0, 0.
        kinds: name -> css class, see `Dot`.
    """
    canvas = Canvas(_WIDTH, 330, label="Objective over the audio consumed")
    values = [0.0, *(value for curve in curves.values() for _, value in curve)]
    longest = max(second for curve in curves.values() for second, _ in curve)
    unit = 3600.0 if longest >= 5400 else 60.0
    to_x, to_y = axes(
        canvas,
        across=ticks_between(0.0, longest / unit, count=8),
        upward=ticks_between(min(values), max(values)),
        right=24,
        x_label=plain_number,
        y_label=plain_number,
        x_title=f"{'hours' if unit == 3600 else 'minutes'} of audio in the weights",
    )
    order = {"trial": 0, "broken": 0, "tied": 1, "baseline": 2, "winner": 3}
    for name, curve in sorted(curves.items(), key=lambda item: (order[kinds[item[0]]], item[0])):
        points = [(to_x(0.0), to_y(0.0)), *((to_x(second / unit), to_y(value)) for second, value in curve)]
        canvas.path(points, css=f"rungs {kinds[name]}", hint=name)
        for (x, y), (second, value) in zip(points[1:], curve, strict=True):
            hint = f"{name} after {audio_time(second)}: {signed(value)}"
            canvas.circle(x, y, 3.2, css=f"trial {kinds[name]}", hint=hint)
    return canvas.render()


def parallel_plot(axes_of: Sequence[Axis], *, trials: Sequence[tuple[str, str, Sequence[Any], float]]) -> str:
    """Draw every trial as a line through its values to its objective, at the right.

    Args:
        trials: (name, css class, a value per axis, objective).
    """
    top, bottom, height = 44.0, 300.0, 336.0
    canvas = Canvas(_WIDTH, height, label="Values of each trial and its objective")
    objectives = [objective for *_, objective in trials]
    last = Axis(key="objective", range=None, low=min(objectives), high=max(objectives))
    columns = [*axes_of, last]
    xs = Scale(0, max(1, len(columns) - 1), 70, _WIDTH - 70)
    up = Scale(0, 1, bottom, top)
    for index, axis in enumerate(columns):
        canvas.line(xs(index), top, xs(index), bottom, css="pillar")
        canvas.text(xs(index), top - 22, short_key(axis.key), css="axis-name", anchor="middle")
        low, high = axis.ends()
        canvas.text(xs(index), bottom + 18, low, css="tick", anchor="middle")
        canvas.text(xs(index), top - 7, high, css="tick", anchor="middle")
    order = {"trial": 0, "broken": 0, "tied": 1, "baseline": 2, "winner": 3}
    for name, kind, values, objective in sorted(trials, key=lambda trial: (order[trial[1]], trial[0])):
        parts = [axis.part(value) for axis, value in zip(columns, [*values, objective], strict=True)]
        points = [(xs(index), up(part)) for index, part in enumerate(parts)]
        shown_values = [
            f"{short_key(axis.key)} {shown(value)}" for axis, value in zip(axes_of, values, strict=True)
        ]
        hint = f"{name}: {', '.join(shown_values)}, objective {signed(objective)}"
        canvas.path(points, css=f"rungs {kind}", hint=hint)
        for x, y in points:
            canvas.circle(x, y, 3.2, css=f"trial {kind}", hint=hint)
    return canvas.render()


def _name(
    canvas: Canvas, dot: Dot, *, x: float, y: float, taken: list[tuple[float, float]], end: float
) -> None:
    """Write a name beside its dot where no other name stands; else leave it to the pointer."""
    width = 7.2 * len(dot.name)
    place = x + 12 if x + 12 + width < end else x - 12 - width
    for shift in (5, -11, 20):
        if all(abs(y + shift - ty) > 15 or abs(place - tx) > 190 for tx, ty in taken):
            taken.append((place, y + shift))
            canvas.text(place, y + shift, dot.name, css=f"dot-name {dot.kind}")
            return


def _points(value: float) -> str:
    text = f"{abs(value):.3g}"
    return "0" if text == "0" else f"{'+' if value > 0 else chr(0x2212)}{text}"
