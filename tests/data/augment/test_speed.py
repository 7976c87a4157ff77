"""Speeds are decided on metadata: the same for the same use, and to the sample what the audio becomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.augment.speed import SpeedRule, Speeds, Uses, num_samples, played_samples
from asr_ray.errors import ConfigError
from asr_ray.records import SAMPLE_RATE

KEYS = [("bg-BG", "a"), ("el-GR", "a")]
RULE = SpeedRule(factors=(0.9, 1.0, 1.1))


def uses_of(count: int, *, number_of_pass: int = 0) -> Uses:
    return Uses(np.arange(count), np.full(count, number_of_pass))


def speeds_of(
    uses: Uses, *, seed: int = 1, rule: SpeedRule = RULE, key: tuple[str, str] = KEYS[0]
) -> np.ndarray:
    of_key = np.zeros(len(uses), dtype=np.int64)
    return Speeds(by_key={key: rule}).draws(uses, key_of_use=of_key, keys=KEYS, seed=seed).speeds


def test_factors_are_drawn_as_often_as_asked() -> None:
    rule = SpeedRule(factors=(0.9, 1.1), probability=0.6)
    drawn = speeds_of(uses_of(60_000), rule=rule)
    shares = {factor: float(np.mean(drawn == factor)) for factor in (0.9, 1.0, 1.1)}
    assert shares == pytest.approx({0.9: 0.3, 1.0: 0.4, 1.1: 0.3}, abs=0.01)


def test_a_use_is_drawn_alike_in_any_company() -> None:
    uses = uses_of(1000)
    some = np.array([900, 3, 77])
    assert np.array_equal(speeds_of(uses.take(some)), speeds_of(uses)[some])


def test_passes_and_seeds_are_drawn_apart() -> None:
    first, second = speeds_of(uses_of(9000)), speeds_of(uses_of(9000, number_of_pass=1))
    other = speeds_of(uses_of(9000), seed=2)
    # Independent draws of three equal parts agree in a third of the cases.
    assert np.mean(first == second) == pytest.approx(1 / 3, abs=0.03)
    assert np.mean(first == other) == pytest.approx(1 / 3, abs=0.03)


def test_keys_without_a_rule_are_left_alone() -> None:
    assert set(speeds_of(uses_of(100), key=KEYS[1])) == {1.0}
    assert set(speeds_of(uses_of(100), rule=SpeedRule(factors=(0.5,), probability=0.0))) == {1.0}


def test_the_slowest_of_a_key_bounds_what_it_can_draw() -> None:
    speeds = Speeds(by_key={KEYS[1]: SpeedRule(factors=(0.8, 1.2))})
    assert speeds.slowest(KEYS).tolist() == [1.0, 0.8]
    assert Speeds(by_key={KEYS[0]: SpeedRule(factors=(1.2,))}).slowest(KEYS).tolist() == [1.0, 1.0]


@given(samples=st.integers(1, 2**23 - 1))
def test_a_catalog_keeps_the_number_of_samples(samples: int) -> None:
    duration_s = np.array([samples / SAMPLE_RATE], dtype=np.float32)
    assert num_samples(duration_s).tolist() == [samples]


@given(samples=st.integers(1, 10**6), factor=st.floats(0.5, 2.0))
def test_what_is_played_faster_is_shorter(samples: int, factor: float) -> None:
    (played,) = played_samples(np.array([samples]), np.array([factor])).tolist()
    assert played >= 1
    assert abs(played - samples / factor) <= 0.5


@pytest.mark.parametrize(("factors", "probability"), [((), 1.0), ((0.0,), 1.0), ((0.9,), 1.1)])
def test_a_rule_that_makes_no_sense_is_refused(factors: tuple[float, ...], probability: float) -> None:
    with pytest.raises(ConfigError, match="speed needs"):
        SpeedRule(factors=factors, probability=probability)
