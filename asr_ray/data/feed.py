"""The planned batches, read and padded by Ray Data, to the rank that each belongs to.

    one task that plans -> parts: some batches each, as addresses -> a task per part (read, decode, tokenise,
      pad) -> one block per batch, in order -> streaming_split(W, equal=True) -> batch i to rank i mod W

The order holds on Ray 2.60 because `preserve_order` switches locality hints off and every batch is a
block of its own; `equal=True` drops nothing because the batches are a multiple of W. Parts are planned
while others are read, so the first batch does not wait for the plan of the whole run; and only the
task that plans holds the catalog.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import DataIterator
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.train import DataConfig

from asr_ray.data.blocks import (
    AUDIO_DTYPE,
    batch_from_row,
    encode_position,
    part_from_row,
    row_of_batch,
    row_of_part,
)
from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.data.recipe import BatchReader
from asr_ray.errors import TrainingError
from asr_ray.records import SAMPLE_RATE, Batch, Position

_PACE_S = 0.05
"""Far below the time of a step, far above the time of a turn of the loop."""


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
    plan = functools.partial(_plan, planned=planned, start=start, world_size=world_size)
    read = functools.partial(_read, reader=planned.reader)
    dataset = (
        ray.data.from_items([{"start": encode_position(start.position)}], override_num_blocks=1)
        # Without a CPU of its own it does not wait for those that read, and is not merged with them.
        .map_batches(plan, batch_size=1, batch_format="pyarrow", num_cpus=0)
        .map_batches(read, batch_size=1, batch_format="pyarrow")
    )
    options = dataset.context.execution_options
    options.preserve_order = True
    # Otherwise reading runs ahead until half of the object store is full, and takes the CPUs for it.
    ahead_s = planned.data.read_ahead_s * world_size
    ahead_bytes = int(ahead_s * SAMPLE_RATE * AUDIO_DTYPE.itemsize)
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


class RankFeed:
    """The feed of one rank. Reading begins at once, while NeMo is imported and the model loaded and judged.

    All ranks have to make one: Ray Data begins when the last of them asks.
    """

    def __init__(self, iterator: DataIterator) -> None:
        self._rows = iter(iterator.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=2))
        reader = ThreadPoolExecutor(1, thread_name_prefix="first batch")
        self._first = reader.submit(next, self._rows, None)
        reader.shutdown(wait=False)

    def batches(self, start: Position) -> Iterator[Batch]:
        """Yield this rank's batches, once, and check that they follow one another from `start`.

        Raises:
            TrainingError: a batch is not the next one of the plan.
        """
        expected, row = start, self._first.result()
        while row is not None:
            batch = batch_from_row(row)
            if batch.position != expected:
                raise TrainingError(
                    f"the feed gave step {batch.position} where {expected} is due",
                    fix="restart the run; it resumes from its last checkpoint",
                )
            yield batch
            expected, row = batch.next_position, next(self._rows, None)


def _plan(_: pa.Table, *, planned: PlannedData, start: ResumePoint, world_size: int) -> Iterator[pa.Table]:
    for part in planned.parts(start, world_size=world_size):
        yield row_of_part(part)


def _read(part: pa.Table, *, reader: BatchReader) -> Iterator[pa.Table]:
    for batch in reader.batches(part_from_row(part)):
        yield row_of_batch(batch)
