"""A configuration -> the measured record: which batches are tried, when, and what is made of them."""

from __future__ import annotations

import datetime
import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_ray.data.catalog import Catalog
from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import inspect_nemo, load_model
from asr_ray.settings import CalibrateSettings
from asr_ray.train.calibration.fit import (
    batch_limit,
    fit_cost,
    fit_memory,
    largest_that_fits,
    measuring_grid,
    tokens_of,
)
from asr_ray.train.calibration.measure import (
    Bench,
    TorchBench,
    describe_device,
    limited_memory,
    training_device,
)
from asr_ray.train.calibration.record import (
    BatchLimit,
    Calibration,
    CostFit,
    LargestBatch,
    MemoryFit,
    Point,
    Shape,
    Subject,
)
from asr_ray.train.step import set_up_torch

_STATED_TOKENS_PER_S = 8.0
_DENSE_SHARE = 0.95
_SHORTEST_TOLD_S = 0.5
"""Shorter utterances say nothing about density: one token more doubles it."""

_MOST_PADDED_S = 10_000.0
"""Largest batch ever tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was measured on a bench, and what follows from it; see `Calibration`."""

    cost: CostFit
    memory: MemoryFit | None
    largest: list[LargestBatch]
    limit: BatchLimit | None
    points: list[Point]


def calibrate(settings: CalibrateSettings) -> Calibration:
    """Measure the training step of a run on this machine and write the record to `settings.record`.

    Raises:
        ConfigError: the model is none, or a number is missing that a CPU cannot give.
        EnvironmentFault: there is no GPU, or not one utterance fits into its memory.
        TrainingError: the measurements allow no fit.
    """
    base = resolve_base(settings.model.base)
    archive = inspect_nemo(base, expected_sha256=settings.model.sha256)
    device = training_device(use_gpu=settings.resources.use_gpu)
    if device.type == "cpu" and settings.data.batch_s is None:
        raise ConfigError(
            "data.batch_s is null, and a CPU has no memory of its own that would limit a batch",
            fix="give data.batch_s as a number",
        )
    set_up_torch(settings.resources)
    tokens_per_s = settings.tokens_per_s or dense_tokens_per_s(settings)
    with limited_memory(device, headroom=settings.headroom):
        bench = TorchBench(
            settings,
            model=load_model(base, device=device),
            device=device,
            num_pieces=archive.vocabulary_size,
            prompt_slot=archive.prompt_table.auto_slot,
        )
        described = describe_device(device)
        memory_bytes = described.memory_bytes
        limit_bytes = None if memory_bytes is None else memory_bytes * (1.0 - settings.headroom)
        found = examine(bench, settings=settings, tokens_per_s=tokens_per_s, limit_bytes=limit_bytes)
        contexts = bench.objective.model.encoder.att_context_size_all
    calibration = Calibration(
        measured_on=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        model=str(settings.model.base),
        sha256=archive.sha256,
        subject=Subject.of(settings, archive=archive),
        att_context_sizes=[tuple(context) for context in contexts],
        device=described,
        cost=found.cost,
        tokens_per_s=tokens_per_s,
        headroom=settings.headroom,
        memory=found.memory,
        largest=found.largest,
        limit=found.limit,
        points=found.points,
    )
    calibration.write(settings.record)
    return calibration


def dense_tokens_per_s(settings: CalibrateSettings) -> float:
    """Tokens per second that 95% of the utterances of `data.train` stay below, or a stated number."""
    path = settings.data.train / "catalog.parquet"
    if not path.is_file():
        return _STATED_TOKENS_PER_S
    catalog = Catalog.read(path)
    durations_s = np.asarray(catalog.durations_s, dtype=np.float64)
    told = durations_s >= _SHORTEST_TOLD_S
    if not told.any():
        return _STATED_TOKENS_PER_S
    rates = np.asarray(catalog.num_tokens, dtype=np.float64)[told] / durations_s[told]
    return max(0.1, float(np.quantile(rates, _DENSE_SHARE)))


def examine(
    bench: Bench, *, settings: CalibrateSettings, tokens_per_s: float, limit_bytes: float | None
) -> Findings:
    """Find the largest batches, time those within them, fit.

    Args:
        limit_bytes: memory that a step may take; None where that is no question.
    """
    # The first step makes the state of the optimizer and compiles kernels.
    bench.step(Shape(utterances=1, duration_s=min(settings.durations_s), num_tokens=1))
    tried = {} if limit_bytes is None else _try_out(bench, settings.durations_s, tokens_per_s=tokens_per_s)
    limit = batch_limit(_largest(tried, memory=None, limit_bytes=0.0))
    if tried and limit is None:
        raise EnvironmentFault(
            f"not one utterance of {min(settings.durations_s):g} s fits into the memory of the device",
            fix="free its memory, freeze the encoder, or train on a larger one",
        )
    within = _within(settings, limit=limit)
    grid = measuring_grid(
        batch_s=within.batch_s,
        durations_s=settings.durations_s,
        tokens_per_s=tokens_per_s,
        max_utterances=within.max_batch_utterances,
    )
    points = timed(bench, grid, repeats=settings.repeats)
    peaks = [point.peak_bytes for point in points if point.peak_bytes is not None]
    memory = fit_memory(grid, peaks) if len(peaks) == len(points) else None
    return Findings(
        cost=fit_cost(grid, [point.step_s for point in points]),
        memory=memory,
        largest=_largest(tried, memory=memory, limit_bytes=limit_bytes or 0.0),
        limit=limit,
        points=points,
    )


def _within(settings: CalibrateSettings, *, limit: BatchLimit | None) -> BatchLimit:
    """What the run asks for, as far as it fits."""
    data = settings.data
    if limit is None:
        return BatchLimit(batch_s=data.max_padded_s, max_batch_utterances=data.max_batch_utterances)
    return BatchLimit(
        batch_s=min(data.batch_s or limit.batch_s, limit.batch_s),
        max_batch_utterances=min(data.max_batch_utterances, limit.max_batch_utterances),
    )


def timed(bench: Bench, grid: Sequence[Shape], *, repeats: int) -> list[Point]:
    """Take each batch once for warmth and `repeats` times for the median.

    Each round goes through the whole grid, so that other work on the machine hits all points alike.
    """
    rounds = [[bench.step(shape) for shape in grid] for _ in range(1 + repeats)][1:]
    return [
        Point(
            shape=shape,
            step_s=statistics.median(point.step_s for point in taken),
            peak_bytes=_most([point.peak_bytes for point in taken]),
        )
        for shape, taken in zip(grid, zip(*rounds, strict=True), strict=True)
    ]


def _most(peaks: Sequence[int | None]) -> int | None:
    return max((peak for peak in peaks if peak is not None), default=None)


def _try_out(bench: Bench, durations_s: Sequence[float], *, tokens_per_s: float) -> dict[Shape, int]:
    """Utterances that fit, for one utterance of each length."""
    found: dict[Shape, int] = {}
    for duration_s in sorted(durations_s):
        one = Shape(utterances=1, duration_s=duration_s, num_tokens=tokens_of(duration_s, tokens_per_s))
        most = max(1, int(_MOST_PADDED_S / duration_s))
        found[one] = largest_that_fits(functools.partial(_fits, bench, one), most=most)
    return found


def _fits(bench: Bench, one: Shape, utterances: int) -> bool:
    return bench.fits(one.model_copy(update={"utterances": utterances}))


def _largest(tried: dict[Shape, int], *, memory: MemoryFit | None, limit_bytes: float) -> list[LargestBatch]:
    return [
        LargestBatch(
            duration_s=one.duration_s,
            num_tokens=one.num_tokens,
            utterances=count,
            predicted_utterances=memory.most_utterances(
                duration_s=one.duration_s, num_tokens=one.num_tokens, limit_bytes=limit_bytes
            )
            if memory
            else None,
        )
        for one, count in tried.items()
    ]
