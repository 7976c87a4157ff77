"""What a reading task is told: which utterances make up which batch, and what augmentation draws for them.

A plan holds the whole catalog. It is made in one place, and what leaves it is this: some batches at a
time, some 20 bytes per utterance.
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
        position, after: where the run stands before and after the step that the batch belongs to.
        draws: for each address what decides its augmentation; None leaves all as they are.
    """

    position: Position
    after: Position
    addresses: tuple[RowAddress, ...]
    draws: Draws | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReader:
    """Makes batches as recipes say.

    Attributes:
        root: folder of the catalog.
    """

    root: Path
    assembler: Assembler

    def batches(self, part: Sequence[BatchRecipe]) -> Iterator[Batch]:
        """Yield the batches of some recipes, in their order.

        All their encoded audio is read before the first one, and held.

        Raises:
            DataError: an utterance cannot be read, or is not what was prepared.
        """
        wanted = [address for recipe in part for address in recipe.addresses]
        utterances = iter(read_utterances(self.root, wanted))
        for recipe in part:
            yield self.assembler.assemble(
                list(itertools.islice(utterances, len(recipe.addresses))),
                position=recipe.position,
                after=recipe.after,
                draws=recipe.draws,
            )
