"""The learning rate rises to its peak, stays or falls, and never leaves its bounds."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.settings import OptimSettings, ValidationSettings
from asr_ray.train.schedule import accumulated_batches, learning_rate, validation_due

Schedule = tuple[OptimSettings, int]


@st.composite
def schedules(draw: st.DrawFn, kind: str = "cosine") -> Schedule:
    """Settings as TrainSettings allows them: the warm-up ends before the run."""
    max_steps = draw(st.integers(1, 300))
    peak_lr = draw(st.floats(1e-7, 1.0))
    warmup_steps = draw(st.integers(0, max_steps - 1))
    optim = OptimSettings(
        peak_lr=peak_lr,
        min_lr=peak_lr * draw(st.floats(0.0, 1.0, allow_subnormal=False)),
        warmup_steps=warmup_steps,
        schedule=kind,
        decay_share=draw(st.floats(0.01, 1.0)) * (max_steps - warmup_steps) / max_steps,
    )
    return optim, max_steps


def rates(schedule: Schedule) -> list[float]:
    optim, max_steps = schedule
    return [learning_rate(step, optim=optim, max_steps=max_steps) for step in range(max_steps + 1)]


@given(schedule=schedules() | schedules("constant") | schedules("wsd"))
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


@given(schedule=schedules("wsd"))
def test_wsd_stays_at_the_peak_and_falls_at_the_end(schedule: Schedule) -> None:
    optim, max_steps = schedule
    first = max_steps - optim.decay_steps(max_steps)
    every = rates(schedule)

    assert set(every[optim.warmup_steps : first + 1]) <= {optim.peak_lr}
    assert all(after <= before * (1 + 1e-12) for before, after in itertools.pairwise(every[first:]))
    assert every[-1] == pytest.approx(optim.min_lr, abs=1e-15)


@given(schedule=schedules("constant"))
def test_constant_stays_at_the_peak(schedule: Schedule) -> None:
    optim = schedule[0]
    assert set(rates(schedule)[optim.warmup_steps :]) == {optim.peak_lr}


@given(schedule=schedules() | schedules("constant") | schedules("wsd"), beyond=st.integers(0, 1000))
def test_no_step_leaves_the_bounds(schedule: Schedule, beyond: int) -> None:
    optim, max_steps = schedule
    every = [*rates(schedule), learning_rate(max_steps + beyond, optim=optim, max_steps=max_steps)]

    lowest = min(optim.min_lr, optim.peak_lr / max(1, optim.warmup_steps))
    assert all(lowest * (1 - 1e-9) <= rate <= optim.peak_lr * (1 + 1e-9) for rate in every)


def test_wsd_by_hand() -> None:
    optim = OptimSettings(peak_lr=1.0, min_lr=0.2, warmup_steps=4, schedule="wsd", decay_share=0.4)
    found = [learning_rate(step, optim=optim, max_steps=10) for step in (0, 4, 6, 7, 10)]
    # One minus the square root of a quarter is half of the way down.
    assert found == pytest.approx([0.25, 1.0, 1.0, 0.6, 0.2])


@given(global_batch_s=st.floats(1, 1e5), batch_s=st.floats(1, 1e3), num_workers=st.integers(1, 64))
def test_accumulation_comes_nearest_to_the_global_batch(
    global_batch_s: float, batch_s: float, num_workers: int
) -> None:
    count = accumulated_batches(global_batch_s, batch_s=batch_s, num_workers=num_workers)
    one = batch_s * num_workers
    assert count >= 1
    assert abs(count * one - global_batch_s) <= one / 2 * (1 + 1e-9) or count == 1


def test_the_global_batch_is_the_same_on_one_gpu_and_on_eight() -> None:
    counts = [accumulated_batches(1920, batch_s=240, num_workers=ranks) for ranks in (1, 2, 4, 8)]
    assert counts == [8, 4, 2, 1]


def test_a_few_values_by_hand() -> None:
    optim = OptimSettings(peak_lr=1.0, min_lr=0.2, warmup_steps=4)
    found = [learning_rate(step, optim=optim, max_steps=12) for step in (0, 3, 4, 8, 12)]
    assert found == pytest.approx([0.25, 1.0, 1.0, 0.6, 0.2])


@given(
    steps_s=st.lists(st.floats(0.0, 900.0), min_size=1, max_size=60),
    hours=st.floats(0.05, 2.0),
)
def test_there_is_a_validation_after_each_so_many_hours_of_audio(steps_s: list[float], hours: float) -> None:
    validation = ValidationSettings(targets=["el-GR"], every_hours=hours, every_steps=1)
    heard_s = [0.0, *itertools.accumulate(steps_s)]
    due = [
        step
        for step, audio_s in enumerate(itertools.pairwise(heard_s), start=1)
        if validation_due(validation, step=step, audio_s=audio_s)
    ]
    # Each mark that was passed is answered by the first step behind it; a long step answers several at once.
    passed = [
        next(step for step, seconds in enumerate(heard_s) if seconds / (3600 * hours) >= mark)
        for mark in range(1, math.floor(heard_s[-1] / (3600 * hours)) + 1)
    ]
    assert due == sorted(set(passed))


def test_without_hours_steps_decide() -> None:
    validation = ValidationSettings(targets=["el-GR"], every_steps=3)
    due = [step for step in range(1, 10) if validation_due(validation, step=step, audio_s=(0.0, 1e9))]
    assert due == [3, 6, 9]
    assert validation.interval == "3 steps"
