"""The learning rate rises to its peak, stays or falls, and never leaves its bounds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.settings import OptimSettings
from asr_ray.train.schedule import learning_rate

Schedule = tuple[OptimSettings, int]


@st.composite
def schedules(draw: st.DrawFn, kind: str = "cosine") -> Schedule:
    """Settings as TrainSettings allows them: the warm-up ends before the run."""
    max_steps = draw(st.integers(1, 300))
    peak_lr = draw(st.floats(1e-7, 1.0))
    optim = OptimSettings(
        peak_lr=peak_lr,
        min_lr=peak_lr * draw(st.floats(0.0, 1.0)),
        warmup_steps=draw(st.integers(0, max_steps - 1)),
        schedule=kind,
    )
    return optim, max_steps


def rates(schedule: Schedule) -> list[float]:
    optim, max_steps = schedule
    return [learning_rate(step, optim=optim, max_steps=max_steps) for step in range(max_steps + 1)]


@given(schedule=schedules() | schedules("constant"))
def test_the_warm_up_rises_evenly_to_the_peak(schedule: Schedule) -> None:
    optim = schedule[0]
    warm_up = rates(schedule)[: optim.warmup_steps]

    assert all(before < after for before, after in itertools.pairwise(warm_up))
    expected = [optim.peak_lr * (step + 1) / optim.warmup_steps for step in range(optim.warmup_steps)]
    assert warm_up == pytest.approx(expected)
    assert rates(schedule)[optim.warmup_steps] == pytest.approx(optim.peak_lr)


@given(schedule=schedules())
def test_the_cosine_falls_to_the_minimum(schedule: Schedule) -> None:
    optim = schedule[0]
    decay = rates(schedule)[optim.warmup_steps :]

    assert all(after <= before * (1 + 1e-12) for before, after in itertools.pairwise(decay))
    assert decay[-1] == pytest.approx(optim.min_lr, abs=1e-15)
    middle = (optim.peak_lr + optim.min_lr) / 2
    assert (decay[len(decay) // 2] + decay[-1 - len(decay) // 2]) / 2 == pytest.approx(middle)


@given(schedule=schedules("constant"))
def test_constant_stays_at_the_peak(schedule: Schedule) -> None:
    optim = schedule[0]
    assert set(rates(schedule)[optim.warmup_steps :]) == {optim.peak_lr}


@given(schedule=schedules() | schedules("constant"), beyond=st.integers(0, 1000))
def test_no_step_leaves_the_bounds(schedule: Schedule, beyond: int) -> None:
    optim, max_steps = schedule
    every = [*rates(schedule), learning_rate(max_steps + beyond, optim=optim, max_steps=max_steps)]

    lowest = min(optim.min_lr, optim.peak_lr / max(1, optim.warmup_steps))
    assert all(lowest * (1 - 1e-9) <= rate <= optim.peak_lr * (1 + 1e-9) for rate in every)


def test_a_few_values_by_hand() -> None:
    optim = OptimSettings(peak_lr=1.0, min_lr=0.2, warmup_steps=4)
    found = [learning_rate(step, optim=optim, max_steps=12) for step in (0, 3, 4, 8, 12)]
    assert found == pytest.approx([0.25, 1.0, 1.0, 0.6, 0.2])
