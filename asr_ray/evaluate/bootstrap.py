"""How sure a rate is: resampling utterances with replacement.

Percentile method (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004). Utterances of one speaker are not independent, so intervals are somewhat too
narrow for test sets with few speakers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
"""Lower and upper end of a 95% confidence interval."""

REPLICATIONS = 2_000
"""Bootstrap samples behind an interval; its ends then move by about a twentieth of its half-width."""

# 10,000 utterances x 2,000 replications of int64 would take 160 MB at once.
_RESAMPLED_AT_ONCE = 2_000_000


def resampled_rates(
    errors: Sequence[int], tokens: Sequence[int], *, replications: int, seed: int
) -> npt.NDArray[np.float64]:
    """Return `replications` rates, each sum(errors) / sum(tokens) over utterances drawn with replacement.

    Args:
        errors: one entry per utterance; differences of two systems give resampled differences.
        tokens: reference tokens, at least one per utterance.
    """
    numerator, denominator = np.asarray(errors, np.int64), np.asarray(tokens, np.int64)
    generator = np.random.default_rng(seed)
    rows = max(1, _RESAMPLED_AT_ONCE // len(numerator))
    rates = []
    for start in range(0, replications, rows):
        size = (min(rows, replications - start), len(numerator))
        drawn = generator.integers(0, len(numerator), size=size)
        rates.append(numerator[drawn].sum(axis=1) / denominator[drawn].sum(axis=1))
    return np.concatenate(rates)


def interval95(samples: npt.NDArray[np.float64]) -> Interval:
    """Return the 2.5th and 97.5th percentile."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def two_sided_p(deltas: npt.NDArray[np.float64]) -> float:
    """Return twice the smaller tail beyond 0; one added to both counts, so that it is never 0."""
    tail = min(int((deltas <= 0).sum()), int((deltas >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(deltas) + 1))
