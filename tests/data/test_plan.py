"""A plan is played on metadata as a run would do it: steps are taken, ranks come and go.

The property to hold: whatever the world sizes, the rows taken are the rows of the windows, each
as often as there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.augment.speed import SpeedRule, Speeds, Uses
from asr_ray.data.batching import BatchBudget, CostModel
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key, MixPolicy, mix_shares
from asr_ray.data.plan import Plan, PlannedStep, ScheduledMix
from asr_ray.data.plan_summary import plan_summary, plan_warnings, summary_tree
from asr_ray.errors import ConfigError, DataError
from asr_ray.records import SAMPLE_RATE, Position
from asr_ray.testing.catalogs import made_up_catalog

COUNTS: dict[Key, int] = {
    ("bg-BG", "a"): 900,
    ("el-GR", "a"): 2000,
    ("el-GR", "b"): 700,
    ("en-US", "a"): 6000,
    ("mt-MT", "a"): 400,
}
START = Position()
SPEEDS = Speeds(
    by_key={
        ("el-GR", "a"): SpeedRule(factors=(0.9, 1.1)),
        ("mt-MT", "a"): SpeedRule(factors=(0.8, 1.0, 1.25), probability=0.5),
    }
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """10,000 utterances of four locales."""
    return made_up_catalog(COUNTS)


def plan_of(
    catalog: Catalog,
    *,
    seed: int = 3,
    window: int = 600,
    max_padded_s: float = 60.0,
    speeds: Speeds | None = None,
) -> Plan:
    shares = mix_shares(catalog.seconds_by_key, policy=MixPolicy()).shares
    budget = BatchBudget(max_padded_s=max_padded_s)
    return Plan.of(catalog, shares, seed=seed, budget=budget, window_utterances=window, speeds=speeds)


def rows_of(steps: list[PlannedStep]) -> Counter[int]:
    return Counter(np.concatenate([batch for step in steps for batch in step.batches]).tolist())


def rows_of_windows(plan: Plan, count: int) -> Counter[int]:
    windows = itertools.islice(plan.windows(START), count)
    return Counter(np.concatenate([window.rows for window in windows]).tolist())


def windows_before(plan: Plan, position: Position) -> int:
    return position.epoch * plan.windows_per_epoch + position.window


@pytest.mark.parametrize("world_size", range(1, 9))
def test_an_epoch_gives_each_row_of_its_windows_once_on_any_world_size(
    catalog: Catalog, world_size: int
) -> None:
    plan = plan_of(catalog)
    steps = list(
        itertools.takewhile(lambda step: step.position.epoch == 0, plan.steps(START, world_size=world_size))
    )
    assert {len(step.batches) for step in steps} == {world_size}
    assert rows_of(steps) == rows_of_windows(plan, plan.windows_per_epoch)


def test_with_shares_by_hours_an_epoch_is_a_pass(catalog: Catalog) -> None:
    total = sum(catalog.seconds_by_key.values())
    shares = {key: seconds / total for key, seconds in catalog.seconds_by_key.items()}
    plan = Plan.of(catalog, shares, seed=0, window_utterances=500)
    assert plan.windows_per_epoch == 20
    assert rows_of_windows(plan, 20) == Counter(range(len(catalog)))
    assert set(rows_of_windows(plan, 60).values()) == {3}


def test_no_utterance_is_two_uses_ahead_of_another_of_its_source(catalog: Catalog) -> None:
    used = np.zeros(len(catalog), dtype=np.int64)
    for window in itertools.islice(plan_of(catalog).windows(START), 60):
        np.add.at(used, window.rows, 1)
        for key in range(len(catalog.keys)):
            of_key = used[catalog.key_of_row == key]
            assert of_key.max() - of_key.min() <= 1


def test_the_same_fields_give_the_same_plan(catalog: Catalog) -> None:
    first, second = (
        list(itertools.islice(plan_of(made_up_catalog(COUNTS)).steps(START, world_size=4), 60))
        for _ in range(2)
    )
    assert [step.position for step in first] == [step.position for step in second]
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.batches, other.batches, strict=True))


def test_windows_can_be_sought(catalog: Catalog) -> None:
    plan = plan_of(catalog)
    windows = list(itertools.islice(plan.windows(START), 2 * plan.windows_per_epoch))
    assert [(w.epoch, w.index) for w in windows[-2:]] == [
        (1, plan.windows_per_epoch - 2),
        (1, plan.windows_per_epoch - 1),
    ]
    sought = next(plan_of(catalog).windows(Position(1, 3)))
    assert np.array_equal(sought.rows, windows[plan.windows_per_epoch + 3].rows)


@settings(max_examples=40)
@given(
    legs=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 25)), min_size=1, max_size=6),
    seed=st.integers(0, 50),
)
def test_any_chain_of_world_sizes_takes_each_row_once(
    catalog: Catalog, legs: list[tuple[int, int]], seed: int
) -> None:
    """Legs of (world size, steps until the next kill), then on to the end of a window."""
    plan = plan_of(catalog, seed=seed, window=200)
    position, taken, world_size = START, list[PlannedStep](), legs[0][0]
    for next_size, count in legs:
        position = plan.resume(position, old_world_size=world_size, new_world_size=next_size)
        world_size = next_size
        leg = list(itertools.islice(plan.steps(position, world_size=world_size), count))
        taken += leg
        position = leg[-1].after if leg else position
    taken += plan.window_steps(position, world_size=world_size)
    assert rows_of(taken) == rows_of_windows(plan, windows_before(plan, taken[-1].after))


@pytest.mark.parametrize("chain", [(8, 6, 4, 8), (1, 8, 1), (2, 3, 2, 3, 2)])
def test_a_kill_at_every_step_of_a_window_loses_and_doubles_nothing(
    catalog: Catalog, chain: tuple[int, ...]
) -> None:
    plan = plan_of(catalog, window=200)
    for kill_after in range(1, len(plan.window_steps(START, world_size=chain[0])) + 1):
        position, taken, world_size = START, list[PlannedStep](), chain[0]
        for next_size in chain:
            position = plan.resume(position, old_world_size=world_size, new_world_size=next_size)
            world_size = next_size
            leg = plan.window_steps(position, world_size=world_size)[:kill_after]
            taken += leg
            position = leg[-1].after
        if position.step > 0:
            taken += plan.window_steps(position, world_size=world_size)
        assert rows_of(taken) == rows_of_windows(plan, windows_before(plan, taken[-1].after))


def test_a_rest_smaller_than_the_ranks_joins_the_next_window(catalog: Catalog) -> None:
    plan = plan_of(catalog, window=64, max_padded_s=25.0)
    one_by_one = plan.window_steps(START, world_size=1)
    assert len(one_by_one[-1].batches[0]) < 8
    position = plan.resume(one_by_one[-1].position, old_world_size=1, new_world_size=8)
    joined = plan.window_steps(position, world_size=8)
    assert joined[-1].after == Position(0, 2)
    assert rows_of([*one_by_one[:-1], *joined]) == rows_of_windows(plan, 2)
    # Another kill inside the joined windows: what is left still reaches to the end of the second.
    position = plan.resume(joined[1].position, old_world_size=8, new_world_size=3)
    rest = plan.window_steps(position, world_size=3)
    assert rest[-1].after == Position(0, 2)
    assert rows_of([*one_by_one[:-1], joined[0], *rest]) == rows_of_windows(plan, 2)


def test_resuming_with_the_same_world_size_continues_at_the_step(catalog: Catalog) -> None:
    plan = plan_of(catalog)
    whole = list(itertools.islice(plan.steps(START, world_size=4), 50))
    rest = list(itertools.islice(plan_of(catalog).steps(whole[17].after, world_size=4), 32))
    for one, other in zip(whole[18:], rest, strict=True):
        assert one.position == other.position
        assert all(np.array_equal(a, b) for a, b in zip(one.batches, other.batches, strict=True))


def test_after_says_what_the_steps_say(catalog: Catalog) -> None:
    plan = plan_of(catalog)
    position = Position(0, 1, 0, ((8, 2),))
    for step in itertools.islice(plan.steps(position, world_size=3), 40):
        assert step.position == position
        assert plan.after(position, world_size=3) == step.after
        position = step.after


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (Position(1, 2, 5), Position(1, 2, 0, ((8, 5),))),
        (Position(1, 2, 3, ((8, 5),)), Position(1, 2, 0, ((8, 5), (8, 3)))),
        (Position(1, 2, 0, ((4, 5),)), Position(1, 2, 0, ((4, 5),))),
        (Position(1, 2), Position(1, 2)),
    ],
)
def test_resume_remembers_the_cut_that_was_begun(position: Position, expected: Position) -> None:
    assert Plan.resume(position, old_world_size=8, new_world_size=6) == expected
    assert Plan.resume(position, old_world_size=8, new_world_size=8) == position


def test_a_position_beyond_its_window_is_refused(catalog: Catalog) -> None:
    with pytest.raises(DataError, match="no such step"):
        plan_of(catalog).window_steps(Position(0, 0, 10_000), world_size=2)


def test_a_small_catalog_goes_round_and_round() -> None:
    catalog = made_up_catalog({("mt-MT", "a"): 10})
    plan = Plan.of(catalog, {("mt-MT", "a"): 1.0}, seed=0, window_utterances=64)
    steps = plan.window_steps(START, world_size=2)
    assert set(rows_of(steps).values()) == {6}  # whole passes of 10, 64 utterances at most


def test_a_plan_travels_without_what_it_has_worked_out(catalog: Catalog) -> None:
    plan = plan_of(catalog)
    before = plan.window_steps(Position(0, 2), world_size=2)
    copy = pickle.loads(pickle.dumps(plan))
    assert copy.digest == plan.digest
    after = copy.window_steps(Position(0, 2), world_size=2)
    assert rows_of(before) == rows_of(after)


def test_the_digest_names_everything_that_matters(catalog: Catalog) -> None:
    plan = plan_of(catalog)
    other_shares = (ScheduledMix(from_step=0, shares={("mt-MT", "a"): 1.0}),)
    variants = [
        plan,
        plan_of(made_up_catalog(COUNTS, seed=1)),
        replace(plan, seed=4),
        replace(plan, schedule=other_shares),
        replace(plan, schedule=(*plan.schedule, replace(other_shares[0], from_step=5))),
        replace(plan, window_utterances=601),
        replace(plan, budget=BatchBudget(max_padded_s=61.0)),
        replace(plan, cost=CostModel(d=1.0)),
        replace(plan, speeds=SPEEDS),
        replace(plan, speeds=Speeds(by_key={("el-GR", "a"): SpeedRule(factors=(0.8, 1.1))})),
    ]
    assert len({variant.digest for variant in variants}) == len(variants)
    assert plan_of(made_up_catalog(COUNTS)).digest == plan.digest


def test_a_checkpoint_of_another_order_has_another_digest(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(catalog)
    now = plan.place_digest
    monkeypatch.setattr("asr_ray.data.plan.ORDER_VERSION", 1)
    assert plan.place_digest != now


def test_an_utterance_over_the_budget_stops_the_plan_before_it_starts(catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"row \d+ of row group \d+ in shards/.* fits no batch"):
        plan_of(catalog, max_padded_s=15.0)


def test_an_unused_source_may_exceed_the_budget() -> None:
    long = made_up_catalog({("el-GR", "a"): 200, ("bg-BG", "a"): 200}, longest_s=60.0)
    limit = float(long.durations_s[long.key_of_row == long.keys.index(("bg-BG", "a"))].max())
    budget = BatchBudget(max_padded_s=limit + 0.01)
    Plan.of(long, {("bg-BG", "a"): 1.0, ("el-GR", "a"): 0.0}, seed=0, budget=budget)


@pytest.mark.parametrize(
    "shares",
    [{("el-GR", "a"): 0.5}, {("el-GR", "a"): 1.5, ("bg-BG", "a"): -0.5}, {("ja-JP", "a"): 1.0}, {}],
)
def test_shares_that_are_none_are_refused(catalog: Catalog, shares: dict[Key, float]) -> None:
    with pytest.raises(ConfigError):
        Plan.of(catalog, shares, seed=0)


@pytest.mark.parametrize("firsts", [(), (1,), (0, 5, 5), (0, 7, 3)])
def test_a_schedule_begins_at_zero_and_rises(catalog: Catalog, firsts: tuple[int, ...]) -> None:
    mixes = tuple(ScheduledMix(from_step=first, shares={("mt-MT", "a"): 1.0}) for first in firsts)
    with pytest.raises(ConfigError, match="schedule"):
        Plan(catalog=catalog, schedule=mixes, seed=0)


@pytest.mark.parametrize(("world_size", "on_average", "at_most"), [(8, 0.002, 0.005), (2, 0.004, 0.015)])
def test_any_hundred_steps_hold_the_mix(world_size: int, on_average: float, at_most: float) -> None:
    """The acceptance figure (half the sum of the differences of shares), five locales, 240 s a batch."""
    catalog = made_up_catalog({(tag, "a"): 20_000 >> i for i, tag in enumerate(("a", "b", "c", "d", "e"))})
    plan = plan_of(catalog, max_padded_s=240.0, window=4096)
    steps = itertools.islice(plan.steps(START, world_size=world_size), 300)
    rows = [np.concatenate(step.batches) for step in steps]
    by_step = [np.bincount(catalog.key_of_row[r], weights=catalog.durations_s[r], minlength=5) for r in rows]
    until = np.concatenate([np.zeros((1, 5)), np.cumsum(by_step, axis=0)])
    taken = until[100:] - until[:-100]
    target = np.array([plan.schedule[0].shares[key] for key in catalog.keys])
    errors = 0.5 * np.abs(taken / taken.sum(axis=1, keepdims=True) - target).sum(axis=1)
    assert errors.mean() <= on_average
    assert errors.max() <= at_most


def test_the_summary_counts_what_the_steps_hold(catalog: Catalog) -> None:
    plan = plan_of(catalog)
    steps = list(itertools.islice(plan.steps(START, world_size=4), 30))
    summary = plan_summary(plan, steps=30, world_size=4)
    batches = [batch for step in steps for batch in step.batches]
    audio_s = sum(float(catalog.durations_s[batch].sum(dtype=np.float64)) for batch in batches)
    padded_s = [len(batch) * float(catalog.durations_s[batch].max()) for batch in batches]
    assert summary.steps == 30
    assert sum(summary.seconds.values()) == pytest.approx(audio_s)
    assert summary.audio_padding == pytest.approx(1 - audio_s / sum(padded_s))
    assert summary.largest_batch.padded_s == pytest.approx(max(padded_s))
    assert summary.largest_batch.utterances == max(len(batch) for batch in batches)
    assert summary.passes[("mt-MT", "a")] == pytest.approx(
        summary.seconds[("mt-MT", "a")] / catalog.seconds_by_key[("mt-MT", "a")]
    )
    assert 0 < summary.lattice_padding < 0.25
    assert 0.95 < summary.step_efficiency <= 1


def test_a_summary_of_no_steps_is_refused(catalog: Catalog) -> None:
    with pytest.raises(ConfigError):
        plan_summary(plan_of(catalog), steps=0, world_size=1)


def uses_of(steps: list[PlannedStep]) -> Uses:
    return Uses.joined([batch for step in steps for batch in step.uses])


def test_without_speeds_the_plan_is_what_it_was_before_there_were_any(catalog: Catalog) -> None:
    """Digest and batches of order 2: whoever changes them raises `ORDER_VERSION` as well."""
    plan = plan_of(catalog)
    batches = hashlib.sha256()
    for step in itertools.islice(plan.steps(START, world_size=4), 60):
        for rows in step.batches:
            batches.update(np.asarray(rows, dtype="<i8").tobytes())
    assert plan.digest == "c9ea40b974b5c23ff47403283042b764d329934479066e5e90ab752c0f64b8b5"
    assert batches.hexdigest() == "c09d42d52085efdeb1535de4aabc4d717a5a11fbf3c6b0aab50726b2383ac7a9"


def test_the_pass_of_a_use_counts_how_often_its_source_was_used_up(catalog: Catalog) -> None:
    seen = np.zeros(len(catalog), dtype=np.int64)
    for window in itertools.islice(plan_of(catalog).windows(START), 40):
        for row, number_of_pass in zip(window.uses.rows, window.uses.passes, strict=True):
            assert number_of_pass == seen[row]
            seen[row] += 1
    assert seen.max() >= 3


def test_batches_at_speed_hold_the_budget_and_cost_the_same(catalog: Catalog) -> None:
    plan = plan_of(catalog, speeds=SPEEDS)
    steps = list(itertools.islice(plan.steps(START, world_size=4), 60))
    for step in steps:
        for batch in step.uses:
            assert len(batch) * plan.num_samples(batch).max() / SAMPLE_RATE <= 60.0
    changed = plan.draws(uses_of(steps)).speeds != 1
    assert 0.2 < changed.mean() < 0.9
    assert plan_summary(plan, steps=60, world_size=4).step_efficiency > 0.95


@pytest.mark.parametrize("other_size", [1, 3, 8])
def test_a_use_is_played_alike_on_any_number_of_ranks(catalog: Catalog, other_size: int) -> None:
    def speeds(world_size: int) -> dict[tuple[int, int], float]:
        plan = plan_of(catalog, speeds=SPEEDS)
        steps = itertools.takewhile(
            lambda step: step.position.epoch == 0, plan.steps(START, world_size=world_size)
        )
        uses = uses_of(list(steps))
        places = zip(uses.rows.tolist(), uses.passes.tolist(), strict=True)
        return dict(zip(places, plan.draws(uses).speeds.tolist(), strict=True))

    assert speeds(2) == speeds(other_size)


def test_speeds_change_neither_the_order_of_the_rows_nor_the_seconds_that_count(catalog: Catalog) -> None:
    plain, at_speed = plan_of(catalog), plan_of(catalog, speeds=SPEEDS)
    assert plain.windows_per_epoch == at_speed.windows_per_epoch
    for one, other in itertools.islice(zip(plain.windows(START), at_speed.windows(START), strict=True), 20):
        assert np.array_equal(one.rows, other.rows)
    summary = plan_summary(at_speed, steps=30, world_size=4)
    rows = uses_of(list(itertools.islice(at_speed.steps(START, world_size=4), 30))).rows
    recorded_s = float(catalog.durations_s[rows].sum(dtype=np.float64))
    assert sum(summary.seconds.values()) == pytest.approx(recorded_s)


def test_an_utterance_that_is_too_long_when_slow_is_found_before_the_run(catalog: Catalog) -> None:
    slow = Speeds(by_key={("en-US", "a"): SpeedRule(factors=(0.5,))})
    longest = float(catalog.durations_s.max())
    plan_of(catalog, max_padded_s=longest + 1)
    with pytest.raises(DataError, match=r"s at 0\.5 of its speed, \d+ tokens"):
        plan_of(catalog, max_padded_s=longest + 1, speeds=slow)


FIRST: dict[Key, float] = {("bg-BG", "a"): 0.5, ("el-GR", "a"): 0.5}
SECOND: dict[Key, float] = {("bg-BG", "a"): 0.25, ("el-GR", "a"): 0.25, ("mt-MT", "a"): 0.5}
THIRD: dict[Key, float] = {("el-GR", "b"): 1.0}


def scheduled(
    catalog: Catalog,
    *mixes: tuple[int, dict[Key, float]],
    history: tuple[dict[Key, float], ...] = (),
    seed: int = 3,
) -> Plan:
    """Windows of about ten steps on one rank, five on two."""
    return Plan(
        catalog=catalog,
        schedule=tuple(ScheduledMix(from_step=step, shares=shares) for step, shares in mixes),
        seed=seed,
        budget=BatchBudget(max_padded_s=60.0),
        window_utterances=64,
        history=history,
    )


def three_mixes(catalog: Catalog, *, seed: int = 3) -> Plan:
    return scheduled(catalog, (0, FIRST), (25, SECOND), (60, THIRD), seed=seed)


def begins(position: Position) -> list[int]:
    return [window for window, _ in position.mixes]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_mix_begins_with_the_first_window_after_its_step(catalog: Catalog, world_size: int) -> None:
    plan = three_mixes(catalog)
    steps = list(itertools.islice(plan.steps(START, world_size=world_size), 120))
    first_of_window = {}
    for number, step in enumerate(steps):
        first_of_window.setdefault(windows_before(plan, step.position), number)
    for index, due in ((1, 25), (2, 60)):
        begun = begins(steps[-1].position)[index]
        expected = min(window for window, number in first_of_window.items() if number >= due)
        assert begun == expected
        keys = {
            catalog.keys[key]
            for step in steps[first_of_window[begun] :]
            if len(step.position.mixes) == index + 1
            for batch in step.batches
            for key in catalog.key_of_row[batch]
        }
        assert keys == set((SECOND, THIRD)[index - 1])


def test_mixes_that_fall_into_one_window_leave_only_the_last(catalog: Catalog) -> None:
    plan = scheduled(catalog, (0, FIRST), (1, SECOND), (2, THIRD))
    last = list(itertools.islice(plan.steps(START, world_size=1), 40))[-1]
    assert [name for _, name in last.position.mixes] == [plan.schedule[0].name, plan.schedule[2].name]


@pytest.mark.parametrize("taken", range(0, 100, 7))
def test_resuming_under_a_schedule_continues_as_if_nothing_had_been(catalog: Catalog, taken: int) -> None:
    whole = list(itertools.islice(three_mixes(catalog).steps(START, world_size=2), 120))
    position = whole[taken - 1].after if taken else START
    rest = three_mixes(catalog).steps(position, world_size=2, steps_taken=taken)
    for one, other in zip(whole[taken:], rest, strict=False):
        assert (one.position, one.position.mixes) == (other.position, other.position.mixes)
        assert all(np.array_equal(a, b) for a, b in zip(one.batches, other.batches, strict=True))


@settings(max_examples=30)
@given(
    legs=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 40)), min_size=1, max_size=6),
    seed=st.integers(0, 50),
)
def test_any_chain_of_world_sizes_and_mixes_takes_each_row_once(
    catalog: Catalog, legs: list[tuple[int, int]], seed: int
) -> None:
    position, taken, world_size = START, list[PlannedStep](), legs[0][0]
    for next_size, count in legs:
        plan = three_mixes(catalog, seed=seed)
        position = plan.resume(position, old_world_size=world_size, new_world_size=next_size)
        world_size = next_size
        steps = plan.steps(position, world_size=world_size, steps_taken=len(taken))
        leg = list(itertools.islice(steps, count))
        taken += leg
        position = leg[-1].after if leg else position
    position = plan.marked(position, steps_taken=len(taken))
    taken += plan.window_steps(position, world_size=world_size)
    end = taken[-1].after
    # The windows of the whole way, under the mixes as they came to hold.
    windows = itertools.islice(plan.windows(replace(START, mixes=end.mixes)), windows_before(plan, end))
    assert rows_of(taken) == Counter(np.concatenate([window.rows for window in windows]).tolist())
    used = np.zeros(len(catalog), dtype=np.int64)
    np.add.at(used, uses_of(taken).rows, 1)
    for key in range(len(catalog.keys)):
        of_key = used[catalog.key_of_row == key]
        assert of_key.max() - of_key.min() <= 1


def test_a_changed_mix_takes_over_at_the_next_window_and_uses_up_what_is_left(catalog: Catalog) -> None:
    old = scheduled(catalog, (0, FIRST))
    taken = list(itertools.islice(old.steps(START, world_size=2), 33))
    stopped = taken[-1].after
    assert stopped.step > 0

    new = scheduled(catalog, (0, SECOND), history=(FIRST,))
    assert new.place_digest == old.place_digest
    assert new.digest != old.digest
    rest = list(itertools.islice(new.steps(stopped, world_size=2, steps_taken=33), 300))

    in_old_window = [step for step in rest if len(step.position.mixes) == 1]
    expected = old.window_steps(stopped, world_size=2)
    assert rows_of(in_old_window) == rows_of(expected)
    assert begins(rest[-1].position) == [0, windows_before(old, expected[-1].after)]
    # Row by row, nothing comes the k+2nd time before its source was seen k times.
    used = np.zeros(len(catalog), dtype=np.int64)
    for step in [*taken, *rest]:
        for batch in step.batches:
            np.add.at(used, batch, 1)
    for key in range(len(catalog.keys)):
        of_key = used[catalog.key_of_row == key]
        assert of_key.max() - of_key.min() <= 1
    assert used.max() >= 2


def test_a_position_of_an_unknown_mix_is_refused(catalog: Catalog) -> None:
    stopped = next(iter(scheduled(catalog, (0, FIRST)).steps(START, world_size=2))).after
    with pytest.raises(DataError, match="which this plan does not know"):
        scheduled(catalog, (0, SECOND)).window_steps(stopped, world_size=2)


def test_what_the_mixes_ask_for_is_summed_up_mix_by_mix(catalog: Catalog) -> None:
    plan = three_mixes(catalog)
    steps = list(itertools.islice(plan.steps(START, world_size=2), 120))
    steps = steps[: 1 + max(i for i, step in enumerate(steps) if step.after.step == 0)]
    rows = uses_of(steps).rows
    consumed_s = np.bincount(catalog.key_of_row[rows], weights=catalog.durations_s[rows])
    targets = plan.target_seconds(steps[-1].after, total_s=float(consumed_s.sum()))
    assert sum(targets.values()) == pytest.approx(consumed_s.sum())
    for key, seconds in zip(catalog.keys, consumed_s, strict=False):
        # Half an utterance a mix, and what all of them together shift the total.
        assert abs(targets[key] - seconds) <= 3 * 20.0
    assert targets[("en-US", "a")] == 0
    assert plan.target_seconds(START, total_s=0.0) == dict.fromkeys(catalog.keys, 0.0)


def test_the_summary_shows_each_mix_and_what_it_gave(catalog: Catalog) -> None:
    summary = plan_summary(three_mixes(catalog), steps=120, world_size=2)
    assert [span.shares for span in summary.mixes] == [FIRST, SECOND, THIRD]
    assert sum(span.steps for span in summary.mixes) == 120
    assert summary.mixes[1].first_step == summary.mixes[0].steps >= 25
    for key in catalog.keys:
        assert sum(span.seconds[key] for span in summary.mixes) == pytest.approx(summary.seconds[key])
    third = summary.mixes[2].seconds
    assert {key for key, seconds in third.items() if seconds} == set(THIRD)
    tree = summary_tree(summary)
    assert json.loads(json.dumps(tree))["mixes"][2]["shares"] == {"el-GR/b": 1.0}


def test_the_author_is_told_of_repetition_and_of_what_never_comes(catalog: Catalog) -> None:
    small = made_up_catalog({("mt-MT", "a"): 32, ("en-US", "a"): 3000})
    repeating = {("mt-MT", "a"): 0.999, ("en-US", "a"): 0.001}
    plan = scheduled(small, (0, repeating), (2, {("en-US", "a"): 1.0}), (3, repeating))
    repeated, left_out = plan_warnings(plan, summary=plan_summary(plan, steps=120, world_size=1))
    assert "mt-MT/a is read" in repeated
    assert "the mix of step 2 never holds" in left_out

    plan = scheduled(catalog, (0, {("bg-BG", "a"): 0.9999, ("mt-MT", "a"): 0.0001}))
    unread = plan_warnings(plan, summary=plan_summary(plan, steps=3, world_size=1))
    assert unread == ("mt-MT/a is in the mix and never read in 3 steps",)

    healthy = scheduled(small, (0, {("en-US", "a"): 1.0}))
    assert plan_warnings(healthy, summary=plan_summary(healthy, steps=20, world_size=1)) == ()
