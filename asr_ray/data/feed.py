"""The planned batches, read and padded by Ray Data, to the rank that each belongs to.

    positions of windows -> one task per window (read, decode, tokenise, pad)
      -> one block per batch, in order -> streaming_split(W, equal=True) -> batch i goes to rank i mod W

The order holds on Ray 2.60 because `preserve_order` switches locality hints off and every batch is a
block of its own; `equal=True` drops nothing because the batches are a multiple of W. A task gets only
the position of its window: it builds the plan again, which is a pure function of the catalog.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataIterator
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.train import DataConfig

from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.errors import TrainingError
from asr_ray.records import SAMPLE_RATE, Batch, Position

_PACE_S = 0.05
"""Far below the time of a step, far above the time of a turn of the loop."""

_ARRAYS = {
    "audio": np.int16,
    "num_samples": np.int64,
    "tokens": np.int64,
    "num_tokens": np.int64,
    "prompt_slots": np.int64,
    "durations_s": np.float64,
}


class Pace(ExecutionCallback):
    """Let Ray Data's scheduling loop rest between its steps.

    Whenever a decoded batch waits for a rank, which is the normal state here, the loop of Ray 2.60 finds
    its tasks "ready" and turns without waiting: measured, 55-60% of a core for a feed that was idle.
    """

    def on_execution_step(self, executor: object) -> None:
        """Called by Ray Data after each turn of the loop."""
        time.sleep(_PACE_S)


def planned_dataset(planned: PlannedData, start: ResumePoint, *, world_size: int) -> ray.data.Dataset:
    """Return the lazy dataset of all batches still to train on: one row and one block each."""
    planned = planned.continuing(start)
    context = ray.data.DataContext.get_current()
    # Any bound would do that is below one batch: then no two batches share a block.
    context.target_max_block_size = 1
    context.custom_execution_callback_classes = [Pace]
    windows = list(planned.windows(start, world_size=world_size))
    items = [{"position": encode_position(position), "steps": steps} for position, steps in windows]
    read = functools.partial(_read_window, planned=planned, world_size=world_size)
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        read, batch_size=1, batch_format="pyarrow"
    )
    options = dataset.context.execution_options
    options.preserve_order = True
    # Otherwise reading runs ahead until half of the object store is full, and takes the CPUs for it.
    ahead_bytes = int(planned.data.read_ahead_s * SAMPLE_RATE * np.dtype(_ARRAYS["audio"]).itemsize)
    options.resource_limits = options.resource_limits.copy(object_store_memory=ahead_bytes)
    return dataset


class PlannedFeed(DataConfig):
    """Ray Train's hook, called at each start of a worker group with the number of ranks it got.

    Args:
        resume: reads the newest committed position; called in the controller, never cached, so that a
            restarted group goes on exactly where the weights stand.
    """

    def __init__(self, planned: PlannedData, *, resume: Callable[[], ResumePoint | None]) -> None:
        super().__init__()
        self.planned = planned
        self.resume = resume

    def configure(
        self, datasets: dict[str, ray.data.Dataset], world_size: int, *args: Any, **kwargs: Any
    ) -> list[dict[str, DataIterator]]:
        """Return one iterator per rank over its batches."""
        (name,) = datasets
        start = self.resume() or ResumePoint(position=Position(), world_size=world_size, steps_taken=0)
        dataset = planned_dataset(self.planned, start, world_size=world_size)
        splits = dataset.streaming_split(world_size, equal=True)
        return [{name: split} for split in splits]


def read_batches(iterator: DataIterator, *, start: Position) -> Iterator[Batch]:
    """Yield this rank's batches and check that they follow one another from `start`.

    Raises:
        TrainingError: a batch is not the next one of the plan.
    """
    expected = start
    for row in iterator.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=2):
        batch = batch_from_row(row)
        if batch.position != expected:
            raise TrainingError(
                f"the feed gave step {batch.position} where {expected} is due",
                fix="restart the run; it resumes from its last checkpoint",
            )
        yield batch
        expected = batch.next_position


def _read_window(window: pa.Table, *, planned: PlannedData, world_size: int) -> Iterator[pa.Table]:
    position, num_steps = decode_position(window["position"][0].as_py()), window["steps"][0].as_py()
    for batch in planned.read_window(position, num_steps=num_steps, world_size=world_size):
        yield row_of_batch(batch)


def row_of_batch(batch: Batch) -> pa.Table:
    """Return a batch as one Arrow row: arrays as raw bytes, so that reading it back copies nothing."""
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(batch, name).tobytes()], pa.large_binary()) for name in _ARRAYS
    }
    for name in ("ids", "locales", "sources"):
        columns[name] = pa.array([list(getattr(batch, name))], pa.list_(pa.string()))
    columns["position"] = pa.array([encode_position(batch.position)])
    columns["next_position"] = pa.array([encode_position(batch.next_position)])
    return pa.table(columns)


def batch_from_row(row: pa.Table) -> Batch:
    """Return the batch that `row_of_batch` wrote."""
    arrays = {
        name: np.frombuffer(row[name].combine_chunks()[0].as_buffer(), dtype=dtype)
        for name, dtype in _ARRAYS.items()
    }
    size = len(arrays["num_samples"])
    lists = {name: tuple(row[name][0].as_py()) for name in ("ids", "locales", "sources")}
    positions = {name: decode_position(row[name][0].as_py()) for name in ("position", "next_position")}
    for name in ("audio", "tokens"):
        arrays[name] = arrays[name].reshape(size, -1)
    return Batch(**arrays, **lists, **positions)  # type: ignore[arg-type]  # keys are those of Batch


def encode_position(position: Position) -> str:
    """Return a position as JSON."""
    return json.dumps(asdict(position))


def decode_position(text: str) -> Position:
    """Read what `encode_position` wrote."""
    fields = json.loads(text)
    earlier = tuple((ranks, steps) for ranks, steps in fields.pop("earlier"))
    mixes = tuple((window, name) for window, name in fields.pop("mixes"))
    return Position(**fields, earlier=earlier, mixes=mixes)
