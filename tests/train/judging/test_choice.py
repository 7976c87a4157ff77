"""Which checkpoints of a run are its best: one becomes the model, or the mean of several does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.config import load
from asr_ray.records import Position
from asr_ray.settings import TrainSettings
from asr_ray.train.checkpoint import RunState
from asr_ray.train.judging.choice import best_steps, is_over, stop_reason

SETS = ("run_dir=r", "data.train=t", "data.validation=v", "model.base=tiny", "validation.targets=[el-GR]")


@pytest.fixture(scope="module")
def settings() -> TrainSettings:
    return load(None, schema=TrainSettings, sets=[*SETS, "validation.guards=[en-US]"]).settings


def validated(*rates: tuple[float, float]) -> list[dict[str, Any]]:
    """Validations every 100 steps, each (target rate, guard rate); the base first."""
    return [
        {"step": 100 * index, "locales": {"el-GR": {"rate": greek}, "en-US": {"rate": english}}}
        for index, (greek, english) in enumerate(rates)
    ]


BASE = (0.9, 0.10)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ([BASE], None),
        ([BASE, (0.5, 0.10)], 100),
        ([BASE, (0.5, 0.10), (0.3, 0.10), (0.4, 0.10)], 200),
        # Better on the target, but the guard lost more than five points.
        ([BASE, (0.5, 0.14), (0.1, 0.16)], 100),
        # All beyond the limit: the least harm.
        ([BASE, (0.2, 0.40), (0.5, 0.20), (0.1, 0.30)], 200),
        # The base is the yardstick and never the answer.
        ([BASE, (1.0, 0.10), (0.95, 0.10)], 200),
        # Of equals the earlier.
        ([BASE, (0.5, 0.10), (0.5, 0.12)], 100),
    ],
)
def test_the_best_on_the_targets_that_keeps_the_guards(
    settings: TrainSettings, rates: list[tuple[float, float]], best: int | None
) -> None:
    assert best_steps(validated(*rates), settings=settings) == ([] if best is None else [best])


def test_a_later_worse_validation_never_changes_the_best(settings: TrainSettings) -> None:
    """Checkpoints other than the newest and the best are gone, so none of them may become the best."""
    run = validated(BASE, (0.6, 0.1), (0.4, 0.3), (0.5, 0.1), (0.3, 0.12), (0.35, 0.1))
    bests = [best_steps(run[:count], settings=settings)[0] for count in range(2, len(run) + 1)]

    # Each is the one just validated, or the one before.
    for newest, (before, after) in zip(run[2:], itertools.pairwise(bests), strict=True):
        assert after in (before, newest["step"])


PERCENT = st.integers(0, 100).map(lambda percent: percent / 100)
RATES = st.lists(st.tuples(PERCENT, PERCENT), min_size=2, max_size=8)


@given(rates=RATES, count=st.integers(1, 4))
def test_a_checkpoint_that_fell_out_of_the_best_few_never_comes_back(
    settings: TrainSettings, rates: list[tuple[float, float]], count: int
) -> None:
    few = settings.model_copy(
        update={"checkpoint": settings.checkpoint.model_copy(update={"average": count})}
    )
    run = validated(BASE, *rates)
    kept: set[int] = set()
    for end in range(2, len(run) + 1):
        newest = run[end - 1]["step"]
        best = best_steps(run[:end], settings=few)
        assert len(best) == min(count, end - 1)
        assert set(best) <= kept | {newest}
        kept = set(best)


TOO_MUCH = "guards lost more than 5 points in"


@pytest.mark.parametrize(
    ("guard_rates", "stopped"),
    [
        ([0.10], False),
        ([0.10, 0.30], False),
        ([0.10, 0.30, 0.30], True),
        # Exactly at the limit is within it.
        ([0.10, 0.15, 0.15], False),
        # Once within it, the count begins anew.
        ([0.10, 0.30, 0.12, 0.30], False),
        ([0.10, 0.30, 0.12, 0.30, 0.29], True),
        # Coming back: from 15 points beyond the limit to 7, and later to where it halves no more.
        ([0.10, 0.30, 0.22], False),
        ([0.10, 0.30, 0.22, 0.21], True),
    ],
)
def test_a_run_ends_when_guards_are_lost_and_do_not_come_back(
    settings: TrainSettings, guard_rates: list[float], stopped: bool
) -> None:
    run = validated(*((0.5, rate) for rate in guard_rates))
    twice = settings.model_copy(
        update={"validation": settings.validation.model_copy(update={"stop_when_broken": 2})}
    )
    reason = stop_reason(run, settings=twice)
    assert (reason is not None) == stopped
    if reason is not None:
        step, rate = run[-1]["step"], guard_rates[-1]
        assert reason == (
            f"{TOO_MUCH} each of the last 2 validations: at step {step} en-US {rate:.1%} (base 10.0%)"
        )
    assert is_over(state_of(run), settings=twice) == stopped
    never = settings.model_copy(
        update={"validation": settings.validation.model_copy(update={"stop_when_broken": None})}
    )
    assert stop_reason(run, settings=never) is None


def state_of(run: list[dict[str, Any]]) -> RunState:
    return RunState(
        step=run[-1]["step"], position=Position(), world_size=1, plan_digest="p", validations=tuple(run)
    )


def test_a_run_without_guards_takes_all_its_steps() -> None:
    alone = load(None, schema=TrainSettings, sets=[*SETS, "max_steps=200", "optim.warmup_steps=1"]).settings
    run = [{"step": step, "locales": {"el-GR": {"rate": 2.0}}} for step in (0, 50, 100, 150)]
    assert not is_over(state_of(run), settings=alone)
    assert is_over(state_of([{"step": 200, "locales": {"el-GR": {"rate": 2.0}}}]), settings=alone)


def test_before_any_validation_nothing_is_best(settings: TrainSettings) -> None:
    assert best_steps([], settings=settings) == []
