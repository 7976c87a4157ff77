"""One rank among the others: what the loop and the validation need from whoever launched them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import distributed as dist

from asr_ray.records import Batch, Position
from asr_ray.train.survival.pulse import WAITING


class Mark(Protocol):
    """`Pulse.mark`, or nothing."""

    def __call__(self, doing: str, step: int | None = None) -> None:
        """Say what begins now."""
        ...


def _unheard(doing: str, step: int | None = None) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What the loop needs from whoever launched it.

    Attributes:
        batches: position to start from -> this rank's batches, in the order of the plan.
        report: called on every rank after each validation, with flat metrics.
        mark: told what this rank begins to do, and at which step; see `train/survival/pulse.py`.
        leaving: whether a node of the group is about to be taken away; all ranks ask at the same step.
    """

    rank: int
    world_size: int
    device: torch.device
    batches: Callable[[Position], Iterator[Batch]]
    report: Callable[[Mapping[str, float]], None]
    mark: Mark = _unheard
    leaving: Callable[[], bool] = lambda: False

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            with self._waiting():
                dist.barrier()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add `values` over the ranks."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.world_size > 1:
            with self._waiting():
                dist.all_reduce(total)
        return [float(value) for value in total]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with self._waiting():
            dist.all_gather_object(values, value)
        return values

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self.mark(WAITING)
        yield
        self.mark("between two steps")
