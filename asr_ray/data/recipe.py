"""What a reading task is told: which utterances make up which batch, and what augmentation draws for them.

A plan holds the whole catalog. It is made in one place, and what leaves it is this: some steps at a
time, a few bytes per utterance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_ray.data.assemble import Assembler
from asr_ray.data.augment.speed import Draws
from asr_ray.data.read import RowAddress, read_utterances
from asr_ray.records import Batch, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecipe:
    """One batch of one rank.

    Attributes:
        draws: for each address what decides its augmentation; None leaves all as they are.
    """

    addresses: tuple[RowAddress, ...]
    draws: Draws | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecipe:
    """One step: a batch for each rank, in their order, between two positions."""

    position: Position
    after: Position
    batches: tuple[BatchRecipe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReader:
    """Makes batches as recipes say.

    Attributes:
        root: folder of the catalog.
    """

    root: Path
    assembler: Assembler

    def batches(self, steps: Sequence[StepRecipe]) -> Iterator[Batch]:
        """Yield the batches of some steps in order: step by step, rank by rank.

        All their encoded audio is read before the first one, and held.

        Raises:
            DataError: an utterance cannot be read, or is not what was prepared.
        """
        wanted = [address for step in steps for batch in step.batches for address in batch.addresses]
        utterances = iter(read_utterances(self.root, wanted))
        for step in steps:
            for batch in step.batches:
                yield self.assembler.assemble(
                    list(itertools.islice(utterances, len(batch.addresses))),
                    position=step.position,
                    after=step.after,
                    draws=batch.draws,
                )
