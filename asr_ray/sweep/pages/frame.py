"""Axes with round ticks between two numbers, as the plots of a sweep share them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from asr_ray.report.svg import Canvas, Scale, round_ticks

LEFT, TOP, BOTTOM = 58.0, 14.0, 40.0

Label = Callable[[float], str]


def ticks_between(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return round numbers that begin at or below `low` and end at or above `high`."""
    span = high - low if high > low else abs(high) or 1.0
    step = round_ticks(span, count=count)[1]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def axes(
    canvas: Canvas,
    *,
    across: Sequence[float],
    upward: Sequence[float],
    right: float,
    x_label: Label,
    y_label: Label,
    x_title: str = "",
) -> tuple[Scale, Scale]:
    """Draw grid and ticks; return the scales across and upward.

    Args:
        across, upward: ticks, rising; the plot lies between the first and the last.
        right: room beside the plot.
    """
    bottom = canvas.height - BOTTOM
    to_x = Scale(across[0], across[-1], LEFT, canvas.width - right)
    to_y = Scale(upward[0], upward[-1], bottom, TOP)
    for tick in upward:
        canvas.line(LEFT, to_y(tick), to_x.end, to_y(tick), css="grid")
        canvas.text(LEFT - 8, to_y(tick) + 4, y_label(tick), css="tick", anchor="end")
    for tick in across:
        canvas.line(to_x(tick), bottom, to_x(tick), bottom + 4, css="grid")
        canvas.text(to_x(tick), bottom + 18, x_label(tick), css="tick", anchor="middle")
    if x_title:
        canvas.text(to_x.end, bottom + 34, x_title, css="tick", anchor="end")
    return to_x, to_y


def plain_number(value: float) -> str:
    """Return a tick without needless digits, with a real minus."""
    return f"{value:.6g}".replace("-", "\u2212") if abs(value) > 1e-12 else "0"
