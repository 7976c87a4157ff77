"""Resampling is reproducible, counts each utterance by its tokens, and does not depend on chunking."""

from __future__ import annotations

import numpy as np
import pytest

from asr_ray.evaluate import bootstrap
from asr_ray.evaluate.bootstrap import interval95, resampled_rates, two_sided_p


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
