"""Measured steps -> cost coefficients, memory per second and cell, the largest batch.

Pure functions. Both models are linear in their coefficients, none of which can be negative, and a step
of 50 ms counts as much as one of 5 s: non-negative least squares on relative errors (Lawson and Hanson,
"Solving Least Squares Problems", 1974, chapter 23).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import nnls

from asr_ray.data.batch_cost import Floats
from asr_ray.errors import TrainingError
from asr_ray.train.calibration.record import BatchLimit, CostFit, LargestBatch, MemoryFit, Shape

_FILLS = (0.35, 1.0)
_DENSITIES = (0.15, 0.5, 1.0)
_FEWEST_POINTS = 6
"""Below it, a point that is held out leaves no more equations than unknowns."""


def measuring_grid(
    *, batch_s: float, durations_s: Sequence[float], tokens_per_s: float, max_utterances: int
) -> list[Shape]:
    """Return batches that span what a run with batches of `batch_s` meets.

    Args:
        batch_s: padded seconds of the largest.
        durations_s: lengths of utterances; those that fit no batch are left out.
        tokens_per_s: of dense speech; sparse speech is measured as well.
        max_utterances: of any batch.
    """
    shapes = {
        _shape(fill * batch_s, duration_s, density * tokens_per_s, max_utterances=max_utterances)
        for duration_s, fill, density in itertools.product(durations_s, _FILLS, _DENSITIES)
        if duration_s <= batch_s
    }
    return sorted(shapes, key=lambda shape: (shape.duration_s, shape.utterances, shape.num_tokens))


def tokens_of(duration_s: float, tokens_per_s: float) -> int:
    """Tokens of an utterance; at least one."""
    return max(1, round(duration_s * tokens_per_s))


def _shape(padded_s: float, duration_s: float, tokens_per_s: float, *, max_utterances: int) -> Shape:
    return Shape(
        utterances=min(max_utterances, max(1, int(padded_s / duration_s))),
        duration_s=duration_s,
        num_tokens=tokens_of(duration_s, tokens_per_s),
    )


def fit_cost(shapes: Sequence[Shape], step_s: Sequence[float]) -> CostFit:
    """Fit the coefficients of `CostModel`, in seconds.

    Raises:
        TrainingError: too few points, or times that do not grow with the batch.
    """
    terms = np.array(
        [
            [s.padded_s, s.padded_s * s.duration_s, s.padded_s * (s.num_tokens + 1), 1.0]
            for s in _enough(shapes)
        ]
    )
    measured = np.asarray(step_s, dtype=np.float64)
    a, b, c, d = _solve(terms, measured).tolist()
    if max(a, c) <= 0:
        raise TrainingError(
            f"the time of {len(measured)} steps did not grow with their audio",
            fix="measure larger batches (data.batch_s) on a machine with less other work",
        )
    errors = _errors_unseen(terms, measured)
    return CostFit(a=a, b=b, c=c, d=d, median_error=float(np.median(errors)), worst_error=float(errors.max()))


def fit_memory(shapes: Sequence[Shape], peak_bytes: Sequence[int]) -> MemoryFit:
    """Fit peak memory; raises TrainingError for too few points."""
    terms = np.array(
        [[1.0, s.padded_s, s.padded_s * s.duration_s, s.cells] for s in _enough(shapes)], dtype=np.float64
    )
    measured = np.asarray(peak_bytes, dtype=np.float64)
    fixed, per_s, per_s2, per_cell = _solve(terms, measured).tolist()
    errors = _errors_unseen(terms, measured)
    return MemoryFit(
        fixed=fixed,
        per_s=per_s,
        per_s2=per_s2,
        per_cell=per_cell,
        median_error=float(np.median(errors)),
        worst_error=float(errors.max()),
    )


def _enough(shapes: Sequence[Shape]) -> Sequence[Shape]:
    if len(shapes) < _FEWEST_POINTS:
        raise TrainingError(
            f"{len(shapes)} different batches are too few for a fit of four coefficients",
            fix="raise data.batch_s or give more durations_s that fit into it",
        )
    return shapes


def _solve(terms: Floats, measured: Floats) -> Floats:
    """Coefficients >= 0 with the least squares of predicted / measured - 1."""
    relative = terms / measured[:, None]
    # The columns differ by orders of magnitude, which the solver's tolerance does not know.
    scale = relative.max(axis=0)
    solution, _ = nnls(relative / scale, np.ones(len(measured)))
    coefficients: Floats = solution / scale
    return coefficients


def _errors_unseen(terms: Floats, measured: Floats) -> Floats:
    """|predicted / measured - 1| of each point by a fit of all the others."""
    errors = np.empty(len(measured))
    for index in range(len(measured)):
        others = np.arange(len(measured)) != index
        predicted = terms[index] @ _solve(terms[others], measured[others])
        errors[index] = abs(predicted / measured[index] - 1)
    return errors


def largest_that_fits(fits: Callable[[int], bool], *, most: int, precision: float = 0.04) -> int:
    """Return the largest number that fits, by doubling and then halving; 0 when not even 1 does.

    Args:
        fits: whether a batch of so many utterances fits; a larger one never fits when a smaller does not.
        most: never try more.
        precision: stop when what fits and what does not are this close, relative to what fits.
    """
    fitting, failing = 0, most + 1
    size = 1
    while size < failing:
        if fits(size):
            fitting, size = size, min(2 * size, most) if size < most else failing
        else:
            failing = size
    while failing - fitting > max(1, precision * fitting):
        size = (fitting + failing) // 2
        if fits(size):
            fitting = size
        else:
            failing = size
    return fitting


def batch_limit(largest: Sequence[LargestBatch]) -> BatchLimit | None:
    """Return the budget within which every measured length fits; None when none does.

    Lengths of which not even one fits set a limit too: a batch must be shorter than them.
    """
    fitting = [each for each in largest if each.utterances > 0]
    if not fitting:
        return None
    batch_s = min(each.utterances * each.duration_s for each in fitting)
    if len(fitting) < len(largest):
        batch_s = min(batch_s, max(each.duration_s for each in fitting))
    shortest = min(fitting, key=lambda each: each.duration_s)
    return BatchLimit(batch_s=batch_s, max_batch_utterances=shortest.utterances)
