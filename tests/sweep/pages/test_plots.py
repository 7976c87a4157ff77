"""The plots of a sweep: the front is the front, and what is drawn stays inside."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.sweep.pages.frame import ticks_between
from asr_ray.sweep.pages.plots import Axis, Dot, parallel_plot, pareto_front, pareto_plot
from asr_ray.sweep.ranges import Choice, Interval

dots = st.lists(
    st.builds(
        lambda objective, change: Dot(name="t", kind="trial", objective=objective, guard_change=change),
        st.floats(-3, 3),
        st.floats(-10, 50),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=30)
@given(dots)
def test_no_trial_beats_one_on_the_front_and_some_one_beats_any_other(found: list[Dot]) -> None:
    front = pareto_front(found)
    for dot in found:
        better = [
            each
            for each in found
            if each.objective <= dot.objective
            and each.guard_change <= dot.guard_change
            and (each.objective, each.guard_change) != (dot.objective, dot.guard_change)
        ]
        on_front = any(
            (each.objective, each.guard_change) == (dot.objective, dot.guard_change) for each in front
        )
        assert on_front == (not better)


@settings(deadline=None, max_examples=30)
@given(dots, st.floats(0.1, 60))
def test_all_dots_lie_inside_the_drawing(found: list[Dot], limit: float) -> None:
    svg = pareto_plot(found, limit=limit)
    xs = [float(x) for x in re.findall(r'cx="([-\d.]+)"', svg)]
    ys = [float(y) for y in re.findall(r'cy="([-\d.]+)"', svg)]
    assert len(xs) == len(found)
    assert all(0 <= x <= 1040 for x in xs) and all(0 <= y <= 400 for y in ys)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_enclose_what_is_shown(low: float, span: float) -> None:
    ticks = ticks_between(low, low + span)
    assert ticks[0] <= low + 1e-6 * span and ticks[-1] >= low + span - 1e-6 * span
    assert 2 <= len(ticks) <= 13


def test_each_kind_of_key_has_an_axis() -> None:
    axes = [
        Axis(key="optim.peak_lr", range=Interval(low=1e-4, high=1e-2, is_log=True), low=1e-4, high=1e-2),
        Axis(key="model.freeze", range=Choice(options=("none", "encoder")), low=0, high=1),
    ]
    assert axes[0].part(1e-3) == pytest.approx(0.5)
    assert (axes[1].part("none"), axes[1].part("encoder"), axes[1].part("other")) == (0, 1, 0.5)
    svg = parallel_plot(
        axes, trials=[("a", "winner", [1e-3, "none"], -0.5), ("b", "trial", [1e-2, "encoder"], 0.1)]
    )
    assert "peak_lr" in svg and "freeze" in svg and svg.count("<path") == 2
