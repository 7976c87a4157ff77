"""How sure a rate is: resampling a test set with replacement.

Percentile method (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004). Sentences of one speaker are not independent: where speakers are known, and
enough of them, whole speakers are drawn; else utterances, and the interval is somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
"""Lower and upper end of a 95% confidence interval."""

Resampled = Literal["speaker", "utterance"]
"""What was drawn with replacement."""

REPLICATIONS = 2_000
"""Bootstrap samples behind an interval; its ends then move by about a twentieth of its half-width."""

MIN_SPEAKERS = 10
"""With fewer speakers there is too little to draw from, and their interval would be too narrow as well."""

# 10,000 utterances x 2,000 replications of int64 would take 160 MB at once.
_RESAMPLED_AT_ONCE = 2_000_000


def speaker_groups(speakers: Sequence[str | None]) -> Sequence[str] | None:
    """Return the speaker of each utterance if resampling by speaker makes sense, else None."""
    known = [speaker for speaker in speakers if speaker]
    return known if len(known) == len(speakers) and len(set(known)) >= MIN_SPEAKERS else None


def resampled_sums(
    values: npt.ArrayLike, *, replications: int, seed: int, groups: Sequence[str] | None = None
) -> npt.NDArray[np.float64]:
    """Return [replications, K]: column sums over rows drawn with replacement, as many as there are.

    Args:
        values: [N, K], one row per utterance; whole numbers are summed exactly.
        groups: [N], draws whole groups of rows instead of rows.
    """
    rows = np.asarray(values, np.float64)
    if groups is not None:
        names, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.zeros((len(names), rows.shape[1]))
        np.add.at(sums, group_of_row, rows)
        rows = sums
    num_rows = len(rows)
    generator = np.random.default_rng(seed)
    chunk = max(1, _RESAMPLED_AT_ONCE // num_rows)
    found = []
    for start in range(0, replications, chunk):
        samples = min(chunk, replications - start)
        drawn = generator.integers(0, num_rows, size=(samples, num_rows))
        # How often each row was drawn: all columns are then one product of matrices.
        cells = drawn + num_rows * np.arange(samples)[:, None]
        times = np.bincount(cells.ravel(), minlength=samples * num_rows).reshape(samples, num_rows)
        found.append(times.astype(np.float64) @ rows)
    return np.concatenate(found)


def resampled_rates(
    errors: Sequence[int],
    tokens: Sequence[int],
    *,
    replications: int,
    seed: int,
    groups: Sequence[str] | None = None,
) -> npt.NDArray[np.float64]:
    """Return `replications` rates, each sum(errors) / sum(tokens) over utterances drawn with replacement.

    Args:
        errors: one entry per utterance; differences of two systems give resampled differences.
        tokens: reference tokens, at least one per utterance.
        groups: the speaker of each utterance, to draw speakers; see `speaker_groups`.
    """
    sums = resampled_sums(
        np.column_stack([errors, tokens]), replications=replications, seed=seed, groups=groups
    )
    rates: npt.NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return rates


def interval95(samples: npt.NDArray[np.float64]) -> Interval:
    """Return the 2.5th and 97.5th percentile."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def two_sided_p(deltas: npt.NDArray[np.float64]) -> float:
    """Return twice the smaller tail beyond 0; one added to both counts, so that it is never 0."""
    tail = min(int((deltas <= 0).sum()), int((deltas >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(deltas) + 1))
