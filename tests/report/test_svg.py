"""Ticks are round and cover the data; text cannot break out of the drawing."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.report.svg import Canvas, Scale, round_ticks


@given(high=st.floats(1e-6, 1e9), count=st.integers(2, 10))
def test_ticks_are_round_few_and_cover_the_data(high: float, count: int) -> None:
    ticks = round_ticks(high, count=count)
    step = ticks[1] - ticks[0]
    assert ticks[0] == 0.0
    assert ticks[-1] >= high * (1 - 1e-6)
    assert ticks[-1] < high + step * 1.001
    assert len(ticks) <= count + 2
    mantissa = step / 10 ** math.floor(math.log10(step * 1.0001))
    assert min(abs(mantissa - factor) for factor in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize("high", [0.0, -1.0])
def test_nothing_to_show_still_has_an_axis(high: float) -> None:
    assert round_ticks(high)[-1] == pytest.approx(1.0)


def test_scale_maps_ends_to_ends() -> None:
    scale = Scale(0, 10, 100, 0)
    assert [scale(value) for value in (0, 5, 10)] == [100, 50, 0]


def test_text_is_escaped() -> None:
    canvas = Canvas(10, 10, label='<"&>')
    canvas.text(0, 0, "</text><script>", css="tick")
    canvas.circle(0, 0, 1, css="mark", hint="<b>")
    drawing = canvas.render()
    assert "<script>" not in drawing
    assert "<b>" not in drawing
    assert ElementTree.fromstring(drawing).get("aria-label") == '<"&>'
