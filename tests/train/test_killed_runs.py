"""The books of runs that were killed at every tenth step and went on with 4, 3, 1 and again 4 ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_ray.data.batching import BatchBudget
from asr_ray.data.catalog import Catalog
from asr_ray.data.plan import Plan
from asr_ray.records import Position
from asr_ray.testing.catalogs import made_up_catalog
from asr_ray.testing.killed import Kills, Resume, lost_and_repeated, train_with_kills
from asr_ray.train import ledger

SMALL, LARGE = ("mt-MT", "a"), ("en-US", "a")
END_OF_EPOCH = Position(epoch=1)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """3,000 utterances of three sources."""
    return made_up_catalog({LARGE: 1500, ("el-GR", "b"): 1300, SMALL: 200})


def plan_of(catalog: Catalog, *, small_share: float | None = None) -> Plan:
    hours = sum(catalog.seconds_by_key.values())
    shares = {key: seconds / hours for key, seconds in catalog.seconds_by_key.items()}
    if small_share is not None:
        shares = {SMALL: small_share, LARGE: 1 - small_share}
    return Plan.of(catalog, shares, seed=3, budget=BatchBudget(max_padded_s=60.0), window_utterances=150)


def all_ids(catalog: Catalog) -> list[str]:
    return catalog.ids(np.arange(len(catalog)))


def test_an_epoch_with_a_kill_at_every_tenth_step_loses_and_repeats_nothing(
    catalog: Catalog, tmp_path: Path
) -> None:
    end, kills = train_with_kills(plan_of(catalog), tmp_path, kills=Kills(), until=END_OF_EPOCH)
    assert end == END_OF_EPOCH
    assert kills > 20
    assert lost_and_repeated(tmp_path, ids=all_ids(catalog)) == (0, 0)
    table = ledger.read(tmp_path)
    steps = table.column("step").to_numpy()
    assert np.array_equal(np.unique(steps), np.arange(1, steps.max() + 1))
    ranks = {int(table.column("rank").to_numpy()[steps == step].max()) + 1 for step in np.unique(steps)}
    assert ranks == {4, 3, 1}


FIRST_COMMIT = Position(step=3)


def one_step_too_far(position: Position, *, old_world_size: int, new_world_size: int) -> Position:
    if position == FIRST_COMMIT:
        position = replace(position, step=position.step + 1)
    return Plan.resume(position, old_world_size=old_world_size, new_world_size=new_world_size)


def as_if_nothing_had_changed(position: Position, *, old_world_size: int, new_world_size: int) -> Position:
    """Keeps the step, which counts in the cut of another number of ranks."""
    if position == FIRST_COMMIT:
        return position
    return Plan.resume(position, old_world_size=old_world_size, new_world_size=new_world_size)


def forgetful(position: Position, *, old_world_size: int, new_world_size: int) -> Position:
    """Cuts the window anew as if nothing had been taken of it, and so never comes to its end."""
    return replace(position, step=0, earlier=())


@pytest.mark.parametrize(
    ("resume", "loses", "repeats"),
    [(one_step_too_far, True, False), (forgetful, True, True), (as_if_nothing_had_changed, True, True)],
)
def test_the_books_show_a_wrong_position(
    catalog: Catalog, tmp_path: Path, resume: Resume, loses: bool, repeats: bool
) -> None:
    # Far enough for some kills; windows that are complete must be complete in the ledger.
    plan, until = plan_of(catalog), Position(window=2)
    kills = Kills(every=4, uncommitted=1, world_sizes=(2, 1, 2), most=40)
    expected = [window for _, window in zip(range(2), plan.windows(Position()), strict=False)]
    ids = catalog.ids(np.concatenate([window.rows for window in expected]))

    end, _ = train_with_kills(plan, tmp_path / "right", kills=kills, until=until)
    assert end == until
    assert lost_and_repeated(tmp_path / "right", ids=ids) == (0, 0)

    train_with_kills(plan, tmp_path / "wrong", kills=kills, until=until, resume=resume)
    lost, repeated = lost_and_repeated(tmp_path / "wrong", ids=ids)
    assert (lost > 0, repeated > 0) == (loses, repeats)


def test_with_a_skewed_mix_nothing_is_seen_k_plus_two_times_before_all_are_seen_k_times(
    catalog: Catalog, tmp_path: Path
) -> None:
    plan = plan_of(catalog, small_share=0.5)
    train_with_kills(plan, tmp_path, kills=Kills(), until=Position(window=12))
    index = {name: number for number, name in enumerate(all_ids(catalog))}
    table = ledger.read(tmp_path)
    rows = np.array([index[name] for name in table.column("id").to_pylist()])
    steps = table.column("step").to_numpy()
    times = np.zeros(len(catalog), dtype=np.int64)
    for step in range(1, steps.max() + 1):
        np.add.at(times, rows[steps == step], 1)
        for key in (SMALL, LARGE):
            of_source = times[catalog.key_of_row == catalog.keys.index(key)]
            assert of_source.max() < of_source.min() + 3
    small = times[catalog.key_of_row == catalog.keys.index(SMALL)]
    assert small.min() >= 3
    assert times[catalog.key_of_row == catalog.keys.index(("el-GR", "b"))].max() == 0
