"""A run that is killed again and again, on metadata: what it trains on is the plan's, its ledger is real.

Steps are taken, committed, lost and taken up again as the training loop does it; only audio, model and
checkpoint files are missing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from asr_ray.data.plan import Plan, PlannedStep
from asr_ray.records import Batch, Position
from asr_ray.train import ledger
from asr_ray.train.ledger import Ledger


class Resume(Protocol):
    """`Plan.resume`, or something that does it wrong."""

    def __call__(self, position: Position, *, old_world_size: int, new_world_size: int) -> Position:
        """Return `position` for another number of ranks."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kills:
    """When a run is killed, and on how many ranks it goes on.

    Attributes:
        every: steps that each start lives for.
        uncommitted: how many of them, the last ones, no checkpoint holds.
        world_sizes: of one start after the other, again and again.
        most: the run ends with this many; None when only with its last step.
    """

    every: int = 10
    uncommitted: int = 3
    world_sizes: Sequence[int] = (4, 3, 1)
    most: int | None = None


def train_with_kills(
    plan: Plan, run_dir: Path, *, kills: Kills, until: Position, resume: Resume = Plan.resume
) -> tuple[Position, int]:
    """Train from the start of `plan` until its position has reached `until`, writing the ledger of a run.

    Args:
        plan: of a catalog with ids.
        resume: how the position of a checkpoint is carried over to another number of ranks.

    Returns:
        The position committed last, and the number of kills.
    """
    position, step, world_size = Position(), 0, kills.world_sizes[0]
    number = 0
    for number, new_world_size in enumerate(itertools.islice(itertools.cycle(kills.world_sizes), kills.most)):
        ledger.truncate(run_dir, step=step)
        position = resume(position, old_world_size=world_size, new_world_size=new_world_size)
        world_size = new_world_size
        books = [Ledger(run_dir, rank=rank) for rank in range(world_size)]
        life = itertools.islice(plan.steps(position, world_size=world_size, steps_taken=step), kills.every)
        last_committed = step + kills.every - kills.uncommitted
        for taken, planned in enumerate(life, step + 1):
            for book, batch in zip(books, batches_of(planned, plan=plan), strict=True):
                book.add(batch, step=taken, applied=True)
            if taken <= last_committed:
                position = planned.after
            if taken == last_committed or position >= until:
                step = taken
                flush(books, step=step)
            if position >= until:
                return position, number
        # The kill came while a checkpoint was being written: some ranks had their part on disk.
        flush(books[::2], step=step + kills.uncommitted)
    return position, number + 1


def flush(books: Iterable[Ledger], *, step: int) -> None:
    """Write what ranks have recorded."""
    for book in books:
        book.flush(step=step)


def lost_and_repeated(run_dir: Path, *, ids: Iterable[str]) -> tuple[int, int]:
    """Count the utterances that the ledger is short of, and those that it has too often.

    Args:
        ids: what should have been trained on, each as often as it is here.
    """
    expected = Counter(ids)
    found = Counter(ledger.read(run_dir).column("id").to_pylist())
    return (expected - found).total(), (found - expected).total()


def batches_of(step: PlannedStep, *, plan: Plan) -> list[Batch]:
    """The batches of a step, one per rank, without audio and tokens."""
    return [_batch(rows, step=step, plan=plan) for rows in step.batches]


def _batch(rows: np.ndarray[tuple[int], np.dtype[np.int64]], *, step: PlannedStep, plan: Plan) -> Batch:
    catalog, nothing = plan.catalog, np.zeros(len(rows), dtype=np.int64)
    keys = [catalog.keys[key] for key in catalog.key_of_row[rows].tolist()]
    return Batch(
        audio=np.zeros((len(rows), 0), dtype=np.int16),
        num_samples=nothing,
        tokens=nothing[:, None],
        num_tokens=nothing,
        prompt_slots=nothing,
        ids=tuple(catalog.ids(rows)),
        locales=tuple(locale for locale, _ in keys),
        sources=tuple(source for _, source in keys),
        durations_s=catalog.durations_s[rows].astype(np.float64),
        position=step.position,
        next_position=step.after,
    )
