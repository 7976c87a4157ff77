"""One rank among the others: what the loop and the validation need from whoever launched them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as dist

from asr_ray.records import Batch, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What the loop needs from whoever launched it.

    Attributes:
        batches: position to start from -> this rank's batches, in the order of the plan.
        report: called on every rank after each validation, with flat metrics.
    """

    rank: int
    world_size: int
    device: torch.device
    batches: Callable[[Position], Iterator[Batch]]
    report: Callable[[Mapping[str, float]], None]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            dist.barrier()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add `values` over the ranks."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.world_size > 1:
            dist.all_reduce(total)
        return [float(value) for value in total]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values
