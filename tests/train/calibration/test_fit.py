"""Coefficients come back from made-up timings, and the largest batch from any threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import TrainingError
from asr_ray.train.calibration.fit import (
    batch_limit,
    fit_cost,
    fit_memory,
    largest_that_fits,
    measuring_grid,
)
from asr_ray.train.calibration.record import LargestBatch, Shape

GRID = measuring_grid(
    batch_s=240.0, durations_s=(1.0, 5.0, 10.0, 20.0, 40.0), tokens_per_s=8.0, max_utterances=512
)
OTHERS = measuring_grid(
    batch_s=180.0, durations_s=(2.0, 7.0, 15.0, 30.0), tokens_per_s=6.0, max_utterances=64
)

coefficients = st.tuples(
    st.floats(1e-4, 1e-2), st.floats(0.0, 1e-4), st.floats(1e-6, 1e-4), st.floats(0.0, 0.2)
)


def seconds(shape: Shape, a: float, b: float, c: float, d: float) -> float:
    """The definition, written out once more."""
    return (
        shape.utterances
        * (a * shape.duration_s + b * shape.duration_s**2 + c * shape.duration_s * (shape.num_tokens + 1))
        + d
    )


@given(coefficients)
def test_exact_times_give_the_coefficients_back(true: tuple[float, float, float, float]) -> None:
    fit = fit_cost(GRID, [seconds(shape, *true) for shape in GRID])

    assert (fit.a, fit.b, fit.c, fit.d) == pytest.approx(true, rel=1e-6, abs=1e-9)
    assert fit.worst_error < 1e-6


@settings(max_examples=50)
@given(true=coefficients, seed=st.integers(0, 1000))
def test_noise_of_5_percent_hardly_moves_what_is_predicted_for_other_batches(
    true: tuple[float, float, float, float], seed: int
) -> None:
    noise = np.random.default_rng(seed).normal(1.0, 0.05, len(GRID)).clip(0.8, 1.2)

    fit = fit_cost(GRID, [seconds(shape, *true) * factor for shape, factor in zip(GRID, noise, strict=True)])

    errors = [abs(seconds(shape, fit.a, fit.b, fit.c, fit.d) / seconds(shape, *true) - 1) for shape in OTHERS]
    assert max(errors) < 0.12
    assert float(np.median(errors)) < 0.06
    # What the record says of itself is of the size of the noise.
    assert 0.01 < fit.median_error < 0.12


def test_times_that_do_not_grow_are_refused() -> None:
    falling = [1.0 / (1 + shape.padded_s) for shape in GRID]
    with pytest.raises(TrainingError, match="did not grow"):
        fit_cost(GRID, falling)


def test_too_few_batches_are_refused() -> None:
    with pytest.raises(TrainingError, match="5 different batches"):
        fit_cost(GRID[:5], [1.0] * 5)


@given(
    fixed=st.floats(1e8, 1e10),
    per_s=st.floats(1e6, 1e8),
    per_s2=st.floats(0.0, 1e6),
    per_cell=st.floats(0.0, 200.0),
)
def test_memory_too(fixed: float, per_s: float, per_s2: float, per_cell: float) -> None:
    def needed(shape: Shape) -> float:
        return (
            fixed
            + shape.padded_s * per_s
            + shape.padded_s * shape.duration_s * per_s2
            + shape.cells * per_cell
        )

    fit = fit_memory(GRID, [round(needed(shape)) for shape in GRID])

    assert fit.worst_error < 1e-4
    for shape in OTHERS:
        most = fit.most_utterances(
            duration_s=shape.duration_s, num_tokens=shape.num_tokens, limit_bytes=needed(shape)
        )
        assert most is not None
        assert abs(most - shape.utterances) <= max(1, 0.02 * shape.utterances)


@given(limit=st.integers(0, 5000), most=st.integers(1, 5000), precision=st.sampled_from([0.0, 0.04, 0.2]))
def test_the_largest_is_found_within_its_precision(limit: int, most: int, precision: float) -> None:
    asked: list[int] = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= limit

    found = largest_that_fits(fits, most=most, precision=precision)

    reachable = min(limit, most)
    assert found <= reachable
    assert reachable - found <= max(0, precision * found)
    assert all(1 <= size <= most for size in asked)
    assert len(asked) == len(set(asked)) <= 2 * most.bit_length() + 1
    assert found == 0 or found in asked


def largest(duration_s: float, utterances: int) -> LargestBatch:
    return LargestBatch(duration_s=duration_s, num_tokens=1, utterances=utterances, predicted_utterances=None)


def test_the_limit_holds_for_every_length() -> None:
    limit = batch_limit([largest(1.0, 300), largest(10.0, 25), largest(40.0, 5)])

    assert limit is not None
    assert (limit.batch_s, limit.max_batch_utterances) == (200.0, 300)


def test_an_utterance_that_does_not_fit_alone_keeps_batches_shorter_than_itself() -> None:
    limit = batch_limit([largest(1.0, 60), largest(20.0, 2), largest(40.0, 0)])

    assert limit is not None
    assert limit.batch_s == 20.0


def test_there_is_no_limit_where_nothing_fits_or_nothing_was_tried() -> None:
    assert batch_limit([]) is None
    assert batch_limit([largest(1.0, 0)]) is None


@given(
    batch_s=st.floats(1.0, 2000.0),
    tokens_per_s=st.floats(0.1, 30.0),
    max_utterances=st.integers(1, 600),
)
def test_a_grid_stays_within_the_budget(batch_s: float, tokens_per_s: float, max_utterances: int) -> None:
    durations_s = (1.0, 5.0, 10.0, 20.0, 40.0)
    grid = measuring_grid(
        batch_s=batch_s, durations_s=durations_s, tokens_per_s=tokens_per_s, max_utterances=max_utterances
    )

    assert len(set(grid)) == len(grid) > 0
    for shape in grid:
        assert shape.padded_s <= batch_s + 1e-9
        assert 1 <= shape.utterances <= max_utterances
        assert shape.num_tokens >= 1
    assert {shape.duration_s for shape in grid} == {length for length in durations_s if length <= batch_s}
