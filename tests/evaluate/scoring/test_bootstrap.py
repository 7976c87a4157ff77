"""Resampling is reproducible, counts each utterance by its tokens, and does not depend on chunking."""

from __future__ import annotations

import numpy as np
import pytest

from asr_ray.evaluate.scoring import bootstrap
from asr_ray.evaluate.scoring.bootstrap import (
    MIN_SPEAKERS,
    interval95,
    resampled_rates,
    resampled_sums,
    speaker_groups,
    two_sided_p,
)


def test_resampled_rates_scatter_around_the_rate_of_summed_counts() -> None:
    errors, tokens = [0, 5, 1, 0], [10, 10, 2, 2]
    rates = resampled_rates(errors, tokens, replications=20_000, seed=0)
    assert np.median(rates) == pytest.approx(6 / 24, abs=0.02)
    assert ((rates >= 0) & (rates <= 0.5)).all()


def test_the_same_seed_draws_the_same_samples() -> None:
    first, again, other = (resampled_rates([1, 0, 2], [5, 5, 5], replications=50, seed=s) for s in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_memory_limit_does_not_change_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resampled_rates([1, 0, 2], [5, 6, 7], replications=101, seed=3)
    monkeypatch.setattr(bootstrap, "_RESAMPLED_AT_ONCE", 9)
    assert (resampled_rates([1, 0, 2], [5, 6, 7], replications=101, seed=3) == whole).all()


def test_interval_holds_95_percent_of_the_samples() -> None:
    low, high = interval95(np.arange(1001, dtype=np.float64))
    assert (low, high) == (25.0, 975.0)


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [([-1.0] * 999, 0.002), ([0.0] * 10, 1.0), ([-1.0] * 95 + [1.0] * 4, 0.1)],
)
def test_p_value_is_twice_the_smaller_tail_and_never_0(deltas: list[float], expected: float) -> None:
    assert two_sided_p(np.array(deltas)) == pytest.approx(expected)


def test_columns_share_their_draws() -> None:
    sums = resampled_sums([[1, 2], [3, 6], [0, 0]], replications=200, seed=0)
    assert sums.shape == (200, 2)
    assert (sums[:, 1] == 2 * sums[:, 0]).all()


def test_groups_are_drawn_whole() -> None:
    # Rows of a group are only ever added together, so each sum is a sum of group totals.
    sums = resampled_sums([[1], [10], [1], [10]], replications=100, seed=0, groups=["a", "b", "a", "b"])
    assert set(sums[:, 0]) <= {4.0, 22.0, 40.0}
    one_each = resampled_sums([[1], [10]], replications=100, seed=0, groups=["x", "y"])
    assert (one_each == resampled_sums([[1], [10]], replications=100, seed=0)).all()


def test_speakers_are_drawn_only_when_all_are_known_and_there_are_enough() -> None:
    enough = [str(number) for number in range(MIN_SPEAKERS)]
    assert speaker_groups(enough) == enough
    assert speaker_groups([*enough, ""]) is None
    assert speaker_groups([*enough, None]) is None
    assert speaker_groups(enough[1:]) is None
