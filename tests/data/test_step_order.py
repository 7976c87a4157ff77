"""Which batches make a step, and in what order steps come, so that any run of them holds the mix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.step_order import even_steps

Floats = npt.NDArray[np.float64]
WORLD_SIZE = 8


def window(
    num_batches: int, *, kinds: int = 5, seed: int = 0
) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
    """Batches of 240 s in which each kind comes in lumps; sizes, costs that scatter by 4%."""
    random = np.random.default_rng(seed)
    parts = random.dirichlet(np.full(kinds, 0.7), num_batches)
    sizes = random.integers(12, 150, num_batches)
    cost = random.normal(1.0, 0.04, num_batches).clip(0.8, 1.2)
    return np.rint(parts * 240_000), sizes, cost


def off_the_mix_s(seconds: Floats, steps: npt.NDArray[np.int64]) -> Floats:
    """Total variation in seconds between the mix of the window and that of each run from its start."""
    by_step = seconds[steps].sum(axis=1) / 1000
    run = by_step.cumsum(axis=0)
    mix = run[-1] / run[-1].sum()
    return 0.5 * np.abs(run - run.sum(axis=1, keepdims=True) * mix).sum(axis=1)


@settings(max_examples=40)
@given(
    num_steps=st.integers(1, 30),
    world_size=st.integers(1, 9),
    kinds=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_every_batch_is_in_one_step_and_none_waits_for_a_dear_one(
    num_steps: int, world_size: int, kinds: int, seed: int
) -> None:
    seconds, sizes, cost = window(num_steps * world_size, kinds=kinds, seed=seed)
    steps = even_steps(seconds, sizes, cost, world_size=world_size, seed=seed)
    assert steps.shape == (num_steps, world_size)
    assert sorted(steps.ravel().tolist()) == list(range(len(cost)))
    # Neighbours in cost, or within 3%.
    widest = np.ptp(np.sort(cost).reshape(num_steps, world_size), axis=1).max()
    spread = cost[steps].max(axis=1) / cost[steps].min(axis=1)
    assert np.all((spread <= 1.03 + 1e-9) | (np.ptp(cost[steps], axis=1) <= widest + 1e-9))


@pytest.mark.parametrize(("kinds", "world_size", "least"), [(5, 8, 4.0), (40, 8, 2.0), (5, 1, 5.0)])
def test_runs_are_nearer_to_the_mix_than_in_any_random_order(
    kinds: int, world_size: int, least: float
) -> None:
    seconds, sizes, cost = window(192, kinds=kinds)
    even = off_the_mix_s(seconds, even_steps(seconds, sizes, cost, world_size=world_size, seed=0)).mean()
    by_cost = np.argsort(cost).reshape(-1, world_size)
    chance = [
        off_the_mix_s(seconds, np.random.default_rng(seed).permutation(by_cost)).mean() for seed in range(20)
    ]
    assert even * least <= np.mean(chance)
    assert even < min(chance)


def test_lengths_do_not_wander() -> None:
    seconds, sizes, cost = window(192)
    steps = even_steps(seconds, sizes, cost, world_size=WORLD_SIZE, seed=0)
    per_step = sizes[steps].sum(axis=1)
    assert np.abs(np.cumsum(per_step - per_step.mean())).max() <= 1.5 * per_step.mean()


def test_the_seed_decides_where_an_order_begins() -> None:
    seconds, sizes, cost = window(192)
    orders = [
        even_steps(seconds, sizes, cost, world_size=WORLD_SIZE, seed=seed).tolist() for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("num_batches", "world_size"), [(1600, 64), (1500, 1)])
def test_large_windows_are_ordered_too(num_batches: int, world_size: int) -> None:
    """More batches than are exchanged, more steps than are herded at once."""
    seconds, sizes, cost = window(num_batches)
    steps = even_steps(seconds, sizes, cost, world_size=world_size, seed=0)
    assert sorted(steps.ravel().tolist()) == list(range(num_batches))
    shuffled = np.random.default_rng(0).permutation(np.argsort(cost).reshape(-1, world_size))
    assert 2 * off_the_mix_s(seconds, steps).mean() < off_the_mix_s(seconds, shuffled).mean()


def test_sums_that_are_added_in_another_order_change_nothing() -> None:
    """Kinds in another order are other sums of the same numbers, as on another machine."""
    seconds, sizes, cost = window(192, kinds=40)
    one = even_steps(seconds, sizes, cost, world_size=WORLD_SIZE, seed=3)
    other = even_steps(seconds[:, ::-1], sizes, cost, world_size=WORLD_SIZE, seed=3)
    assert np.array_equal(one, other)
