"""Ranges: what is drawn lies inside, grids hold the ends, what is no range is refused with its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.sweep.ranges import Choice, Interval, Simplex, is_range, parse_range

ends = st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)).filter(lambda pair: pair[0] < 0.999 * pair[1])
intervals = st.builds(
    lambda pair, is_log: Interval(low=pair[0], high=pair[1], is_log=is_log), ends, st.booleans()
)
whole = st.builds(
    lambda low, more: Interval(low=low, high=low + more, is_whole=True),
    st.integers(-50, 50),
    st.integers(1, 60),
)
choices = st.builds(
    lambda options: Choice(options=tuple(options)), st.lists(st.integers(), min_size=1, unique=True)
)
simplices = st.builds(
    lambda count, part: Simplex(
        groups={f"g{index}": (f"l{index}",) for index in range(count)}, min_share=part / count
    ),
    st.integers(2, 6),
    st.floats(0.001, 0.9),
)
ranges = st.one_of(intervals, whole, choices, simplices)
seeds = st.integers(0, 10_000)


@settings(deadline=None)
@given(ranges, seeds)
def test_what_is_drawn_lies_inside(found: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = found.sample(rng)
    assert found.holds(value)
    assert found.holds(found.moved(value, factors=(0.8, 1.25), rng=rng))
    assert found.holds(found.middle())


@settings(deadline=None)
@given(ranges, st.integers(2, 5))
def test_a_grid_lies_inside_and_holds_the_extremes_of_its_range(found: Any, points: int) -> None:
    grid = found.grid(points)
    assert all(map(found.holds, grid))
    assert all(any(value == pytest.approx(extreme) for value in grid) for extreme in found.extremes())


@settings(deadline=None)
@given(intervals, st.floats(0, 1))
def test_a_value_lies_where_it_was_taken(found: Interval, part: float) -> None:
    assert found.part_of(found.at(part)) == pytest.approx(part, abs=1e-6)


@settings(deadline=None)
@given(simplices, seeds)
def test_shares_of_groups_sum_to_one_and_none_is_below_its_least(found: Simplex, seed: int) -> None:
    shares = found.sample(np.random.default_rng(seed))
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= found.min_share - 1e-12
    assert found.shares_at(found.parts_of(shares)) == pytest.approx(shares)


@settings(deadline=None)
@given(simplices, st.integers(2, 4))
def test_the_lattice_of_a_simplex_has_as_many_points_as_scheffe_says(found: Simplex, points: int) -> None:
    groups = len(found.groups)
    assert len(found.grid(points)) == math.comb(groups + points - 2, points - 1)


@pytest.mark.parametrize(
    "value",
    [
        {"uniform": [0, 1]},
        {"uniform": 3},
        {"choice": ["a"]},
        {"simplex": {"a": ["el-GR"], "b": ["bg-BG"]}, "min_share": 0.1},
    ],
)
def test_a_range_is_known_by_its_word(value: dict[str, Any]) -> None:
    assert is_range(value)


@pytest.mark.parametrize(
    "value", [{"uniform": {"augment": {}}}, {"share": 0.3}, [0, 1], None, {"choice": [1], "other": 2}]
)
def test_a_section_is_no_range_whatever_its_keys_are_called(value: Any) -> None:
    assert not is_range(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"uniform": [1, 0]}, "is empty"),
        ({"uniform": [1]}, "two numbers"),
        ({"uniform": 3}, "two numbers"),
        ({"loguniform": ["1e-4", 1]}, "YAML reads 1e-4 as text"),
        ({"loguniform": [0, 1]}, "begins at 0"),
        ({"choice": []}, "no list"),
        ({"choice": "abc"}, "no list"),
        ({"choice": [1, 1]}, "twice"),
        ({"simplex": {"a": ["el-GR"]}}, "two groups"),
        ({"simplex": {"a": ["el-GR"], "b": ["el-GR"]}}, "two groups"),
        ({"simplex": {"a": ["el-GR"], "b": ["bg-BG"]}, "min_share": 0.5}, "does not fit"),
        ({"uniform": [0, 1], "choice": [1]}, "is no range"),
        ({"uniform": [0, 1], "min_share": 0.1}, "is no range"),
    ],
)
def test_a_wrong_range_is_refused_with_its_place(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_range(value, key="data.mix.alpha", where="sweep.yaml")
    assert "sweep.yaml: data.mix.alpha" in str(caught.value)
    assert caught.value.fix


def test_a_key_of_whole_numbers_takes_whole_ends() -> None:
    found = parse_range({"uniform": [1, 4]}, key="x", where="f", is_whole=True)
    assert found.grid(9) == [1, 2, 3, 4]
    with pytest.raises(ConfigError, match="whole numbers"):
        parse_range({"uniform": [1.5, 4]}, key="x", where="f", is_whole=True)
