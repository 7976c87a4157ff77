from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr_ray.data.batching import BatchBudget, CostModel, cut_into_batches, whole_steps
from asr_ray.errors import ConfigError, DataError

COST = CostModel()
Window = tuple[np.ndarray, np.ndarray]
Steps = list[list[np.ndarray]]


def speech(size: int, *, seed: int = 0, jitter: float = 0.25) -> Window:
    """Durations and tokens of five languages whose rates differ."""
    random = np.random.default_rng(seed)
    durations_s = np.clip(np.exp(random.normal(np.log(6), 0.6, size)), 1, 20)
    rates = np.array([2.2, 3.0, 3.6, 4.5, 6.0])[random.choice(5, size, p=[0.35, 0.25, 0.18, 0.13, 0.09])]
    tokens = np.round(rates * durations_s * np.exp(random.normal(0, jitter, size)))
    return durations_s, np.maximum(tokens, 1).astype(np.int64)


def cut(window: Window, *, world_size: int, budget: BatchBudget | None = None, seed: int = 0) -> Steps:
    return cut_into_batches(
        *window, world_size=world_size, cost=COST, budget=budget or BatchBudget(), seed=seed
    )


def costs(window: Window, steps: Steps) -> np.ndarray:
    """Predicted cost of each batch, written out; float64 [steps, ranks]."""
    durations_s, tokens = window
    return np.array(
        [
            [
                len(b)
                * durations_s[b].max()
                * (COST.a + COST.b * durations_s[b].max() + COST.c * (tokens[b].max() + 1))
                for b in step
            ]
            for step in steps
        ]
    )


def check_whole(window: Window, steps: Steps, *, world_size: int, budget: BatchBudget) -> None:
    durations_s, tokens = window
    assert {len(step) for step in steps} == {world_size}
    batches = [batch for step in steps for batch in step]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(durations_s)))
    for batch in batches:
        assert len(batch) > 0
        assert np.all(np.diff(tokens[batch]) >= 0)
        assert len(batch) <= budget.max_utterances
        assert len(batch) * durations_s[batch].max() <= budget.max_padded_s
        if budget.max_lattice_cells is not None:
            frames = np.ceil(durations_s[batch].max() / 0.08)
            assert len(batch) * frames * (tokens[batch].max() + 1) <= budget.max_lattice_cells


@settings(max_examples=60)
@given(
    size=st.integers(8, 700),
    world_size=st.integers(1, 8),
    max_padded_s=st.sampled_from([40.0, 60.0, 240.0, 1e6]),
    max_utterances=st.sampled_from([2, 16, 256]),
    max_lattice_cells=st.sampled_from([None, 80_000, 1_000_000]),
    seed=st.integers(0, 10_000),
)
@example(size=8, world_size=8, max_padded_s=40.0, max_utterances=2, max_lattice_cells=None, seed=0)
def test_every_row_once_and_every_batch_within_budget(
    size: int,
    world_size: int,
    max_padded_s: float,
    max_utterances: int,
    max_lattice_cells: int | None,
    seed: int,
) -> None:
    window = speech(size, seed=seed)
    budget = BatchBudget(
        max_padded_s=max_padded_s, max_utterances=max_utterances, max_lattice_cells=max_lattice_cells
    )
    check_whole(
        window, cut(window, world_size=world_size, budget=budget), world_size=world_size, budget=budget
    )


@pytest.mark.parametrize("world_size", range(1, 9))
def test_twelve_thousand_utterances_on_each_world_size(world_size: int) -> None:
    window = speech(12_000, seed=world_size)
    steps = cut(window, world_size=world_size)
    check_whole(window, steps, world_size=world_size, budget=BatchBudget())
    by_step = costs(window, steps)
    assert (by_step.mean(axis=1) / by_step.max(axis=1)).mean() >= 0.97


@settings(max_examples=40)
@given(
    durations_s=st.lists(st.sampled_from([0.01, 1.0, 1.5, 19.9]), min_size=1, max_size=40),
    tokens=st.sampled_from([0, 1, 50]),
    world_size=st.integers(1, 8),
)
def test_odd_windows_are_cut_or_refused_but_never_damaged(
    durations_s: list[float], tokens: int, world_size: int
) -> None:
    window = np.array(durations_s), np.full(len(durations_s), tokens)
    budget = BatchBudget(max_padded_s=20.0, max_utterances=3)
    steps = whole_steps(*window, world_size=world_size, cost=COST, budget=budget, seed=0)
    if steps is not None:
        check_whole(window, steps, world_size=world_size, budget=budget)
    else:
        # Refused only for want of rows: two more rows than batches of one would need always suffice.
        assert len(durations_s) < 2 * world_size or len(durations_s) % world_size


def test_a_budget_of_single_utterances_pairs_the_shortest() -> None:
    durations_s = np.array([2.0, 18.0, 19.0, 17.0, 2.5])
    steps = cut((durations_s, np.arange(5)), world_size=4, budget=BatchBudget(max_padded_s=20.0))
    assert sorted(tuple(batch.tolist()) for batch in steps[0]) == [(0, 4), (1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("jitter", "max_padded_s", "audio_limit", "lattice_limit"),
    [(0.0, 240, 0.045, 0.09), (0.25, 240, 0.065, 0.14), (0.0, 120, 0.03, 0.06), (0.25, 120, 0.035, 0.10)],
)
def test_padding_is_small_and_no_rank_waits(
    jitter: float, max_padded_s: float, audio_limit: float, lattice_limit: float
) -> None:
    window = durations_s, tokens = speech(4000, jitter=jitter)
    steps = cut(window, world_size=8, budget=BatchBudget(max_padded_s=max_padded_s))
    batches = [batch for step in steps for batch in step]
    padded = np.array([[len(b), durations_s[b].max(), tokens[b].max()] for b in batches])
    assert 1 - durations_s.sum() / (padded[:, 0] * padded[:, 1]).sum() <= audio_limit
    assert 1 - (durations_s * tokens).sum() / padded.prod(axis=1).sum() <= lattice_limit
    by_step = costs(window, steps)
    assert (by_step.mean(axis=1) / by_step.max(axis=1)).mean() >= 0.985


def test_the_seed_decides_steps_and_order_but_not_the_batches() -> None:
    window = speech(1000)
    first, again, other = (cut(window, world_size=4, seed=seed) for seed in (1, 1, 2))

    def as_sets(steps: Steps) -> list[frozenset[tuple[int, ...]]]:
        return [frozenset(tuple(batch.tolist()) for batch in step) for step in steps]

    def batches(steps: Steps) -> set[tuple[int, ...]]:
        return {tuple(batch.tolist()) for step in steps for batch in step}

    def as_lists(steps: Steps) -> list[list[list[int]]]:
        return [[batch.tolist() for batch in step] for step in steps]

    assert as_lists(first) == as_lists(again)
    assert as_sets(first) != as_sets(other)
    assert batches(first) == batches(other)


def test_no_rank_always_gets_the_cheapest_batch() -> None:
    window = speech(8000)
    cheapest = costs(window, cut(window, world_size=4)).argmin(axis=1)
    assert set(cheapest.tolist()) == {0, 1, 2, 3}


def test_too_few_rows_name_the_fix() -> None:
    with pytest.raises(DataError, match="3 utterances") as caught:
        cut(speech(3), world_size=4)
    assert "fewer ranks" in caught.value.fix


def test_an_utterance_over_the_budget_is_named() -> None:
    durations_s = np.array([3.0, 4.0, 31.0, 5.0])
    with pytest.raises(DataError, match="utterance 2 ") as caught:
        cut((durations_s, np.full(4, 10)), world_size=1, budget=BatchBudget(max_padded_s=30.0))
    assert "leave out" in caught.value.fix


@pytest.mark.parametrize(
    "limits",
    [
        {"max_padded_s": 0.0, "max_utterances": 1, "max_lattice_cells": None},
        {"max_padded_s": 1.0, "max_utterances": 0, "max_lattice_cells": None},
        {"max_padded_s": 1.0, "max_utterances": 1, "max_lattice_cells": 0},
    ],
)
def test_an_empty_budget_is_a_configuration_error(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BatchBudget(**limits)


def test_a_cost_model_without_cost_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        CostModel(a=0.0, c=0.0)
