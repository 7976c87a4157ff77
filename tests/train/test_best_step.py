"""Which checkpoint of a run becomes its model."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from asr_ray.config import load
from asr_ray.settings import TrainSettings
from asr_ray.train.loop import best_step

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
    assert best_step(validated(*rates), settings=settings) == best


def test_a_later_worse_validation_never_changes_the_best(settings: TrainSettings) -> None:
    """Checkpoints other than the newest and the best are gone, so none of them may become the best."""
    run = validated(BASE, (0.6, 0.1), (0.4, 0.3), (0.5, 0.1), (0.3, 0.12), (0.35, 0.1))
    bests = [best_step(run[:count], settings=settings) for count in range(2, len(run) + 1)]

    # Each is the one just validated, or the one before.
    for newest, (before, after) in zip(run[2:], itertools.pairwise(bests), strict=True):
        assert after in (before, newest["step"])
