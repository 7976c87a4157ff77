"""Windows of utterances: exact in seconds at every edge, no utterance twice before all came once."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.augment.speed import Uses
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key
from asr_ray.data.row_order import RowOrder, Stage, windows_per_turn
from asr_ray.testing.catalogs import made_up_catalog

KEYS: list[Key] = [(locale, source) for locale in ("bg-BG", "el-GR", "en-US", "mt-MT") for source in "ab"]
HALF_THE_LONGEST_S = 10.0


def audio(counts: list[int], *, seed: int = 0) -> Catalog:
    return made_up_catalog(dict(zip(KEYS[: len(counts)], counts, strict=True)), row_group_size=8, seed=seed)


def shares_of(catalog: Catalog, parts: list[float]) -> dict[Key, float]:
    return dict(zip(catalog.keys, (np.array(parts) / sum(parts)).tolist(), strict=True))


def order_of(
    catalog: Catalog,
    stages: list[list[float]],
    *,
    seed: int = 0,
    change_every: int = 3,
    window_utterances: int = 100,
) -> RowOrder:
    """Stage i holds from window i * change_every on."""
    return RowOrder(
        catalog,
        stages=[
            Stage(first_window=i * change_every, shares=shares_of(catalog, parts))
            for i, parts in enumerate(stages)
        ],
        seed=seed,
        window_utterances=window_utterances,
    )


def uses(order: RowOrder, windows: range) -> Uses:
    return Uses.joined([order.uses(window) for window in windows])


def seconds_by_key(catalog: Catalog, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    seconds = catalog.durations_s[rows]
    return np.bincount(catalog.key_of_row[rows], weights=seconds, minlength=len(catalog.keys))


mixes = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(1, 300), min_size=size, max_size=size),
        st.lists(st.sampled_from([0.001, 0.01, 0.1, 0.5, 1.0]), min_size=size, max_size=size),
    )
)


@settings(max_examples=30)
@given(mix=mixes, seed=st.integers(0, 1000), change_every=st.integers(1, 5))
def test_at_every_window_each_key_is_within_half_an_utterance_of_what_the_mixes_asked(
    mix: tuple[list[int], list[float]], seed: int, change_every: int
) -> None:
    counts, parts = mix
    catalog = audio(counts, seed=seed)
    stages = [parts, parts[::-1], [1.0] * len(parts)]
    order = order_of(catalog, stages, seed=seed, change_every=change_every)
    asked_s, given_s = np.zeros(len(counts)), np.zeros(len(counts))
    for window in range(2 * change_every + 4):
        stage = stages[min(window // change_every, 2)]
        window_s = order.seconds_before(window + 1) - order.seconds_before(window)
        asked_s += window_s * np.array(stage) / sum(stage)
        given_s += seconds_by_key(catalog, order.uses(window).rows)
        assert np.abs(given_s - asked_s).max() <= HALF_THE_LONGEST_S + 1e-3


@settings(max_examples=30)
@given(mix=mixes, seed=st.integers(0, 1000))
def test_nothing_comes_a_second_time_more_before_all_have_come(
    mix: tuple[list[int], list[float]], seed: int
) -> None:
    counts, parts = mix
    catalog = audio(counts, seed=seed)
    order = order_of(catalog, [parts, parts[::-1], [1.0] * len(parts)], seed=seed)
    times = np.zeros(len(catalog), dtype=np.int64)
    for window in range(15):
        new = order.uses(window)
        # In the order in which the tapes run: the pass of a use is how often its row was used before.
        for row, number_of_pass in zip(new.rows.tolist(), new.passes.tolist(), strict=True):
            assert number_of_pass == times[row]
            times[row] += 1
        for key in range(len(catalog.keys)):
            assert np.ptp(times[catalog.key_of_row == key]) <= 1


@pytest.mark.parametrize("window_utterances", [7, 100, 333, 799])
def test_with_shares_by_hours_every_turn_is_a_whole_pass(window_utterances: int) -> None:
    catalog = audio([500, 290, 10])
    shares = list(catalog.seconds_by_key.values())
    order = order_of(catalog, [shares], window_utterances=window_utterances)
    windows = windows_per_turn(catalog, shares_of(catalog, shares), window_utterances=window_utterances)
    assert windows == -(-800 // window_utterances)
    for turn in range(3):
        rows = uses(order, range(turn * windows, (turn + 1) * windows)).rows
        assert sorted(rows.tolist()) == list(range(800))


def test_windows_are_equal_in_seconds_and_about_as_large_as_asked() -> None:
    catalog = audio([5000, 3000])
    order = order_of(catalog, [[1, 1]])
    windows = [order.uses(window).rows for window in range(30)]
    seconds = np.array([seconds_by_key(catalog, rows).sum() for rows in windows])
    assert np.ptp(seconds) <= 4 * HALF_THE_LONGEST_S
    assert np.mean([len(rows) for rows in windows]) == pytest.approx(100, rel=0.05)


def test_a_turn_that_is_less_than_a_window_is_repeated_in_it() -> None:
    order = order_of(audio([30]), [[1.0]])
    assert np.bincount(order.uses(0).rows).tolist() == [3] * 30


def test_a_row_group_is_cut_at_an_edge_and_read_on_behind_it() -> None:
    catalog = audio([800])
    order = order_of(catalog, [[1.0]])
    groups = catalog.row_groups
    group_of_row = np.repeat(np.arange(len(groups)), np.diff(groups.starts))
    in_order = [group_of_row[order.uses(window).rows] for window in range(8)]
    for before, behind in itertools.pairwise(in_order):
        assert len(set(before) & set(behind)) <= 1
    # Inside a window no row group is left and come back to.
    joined = np.concatenate(in_order)
    assert np.count_nonzero(np.diff(joined)) == len(groups) - 1


def test_passes_have_different_orders() -> None:
    order = order_of(audio([160]), [[1.0]], window_utterances=40)
    first, second = (uses(order, windows).rows.tolist() for windows in (range(4), range(4, 8)))
    assert sorted(first) == sorted(second) == list(range(160))
    assert first != second


def test_a_changed_mix_goes_on_where_the_one_before_left_its_sources() -> None:
    catalog = audio([2000, 2000, 3000])
    order = order_of(catalog, [[1, 1, 0], [0, 1, 3]], change_every=10)
    before, after = uses(order, range(10)).rows, uses(order, range(10, 30)).rows
    assert seconds_by_key(catalog, before)[2] == seconds_by_key(catalog, after)[0] == 0
    assert len(set(before.tolist() + after.tolist())) == len(before) + len(after)


def test_any_window_is_found_without_those_before_it() -> None:
    catalog = audio([500, 300, 7])
    ahead, step_by_step = (order_of(catalog, [[1, 2, 1]], seed=5) for _ in range(2))
    last = ahead.uses(1000)
    for window in (*range(51), 1000):
        if window == 1000:
            assert np.array_equal(step_by_step.uses(window).rows, last.rows)
            assert np.array_equal(step_by_step.uses(window).passes, last.passes)
        assert np.array_equal(ahead.uses(window).rows, step_by_step.uses(window).rows)


def test_another_seed_is_another_order() -> None:
    catalog = audio([500])
    orders = {
        tuple(uses(order_of(catalog, [[1.0]], seed=seed), range(4)).rows.tolist()) for seed in range(10)
    }
    assert len(orders) == 10
