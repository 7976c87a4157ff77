"""Things that go wrong on purpose: in tasks that read training data, and in a rank that trains."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from asr_ray.testing.fakes import FakeTokenizer


@dataclass(frozen=True, slots=True)
class FaultyTokenizer:
    """A `FakeTokenizer` whose process dies once, or which is slow on some texts.

    Attributes:
        dies_once: file that remembers the death; the process that finds it missing is killed (SIGKILL).
        slow_texts: transcripts on which it sleeps.
        delay_s: how long.
    """

    dies_once: Path | None = None
    slow_texts: frozenset[str] = frozenset()
    delay_s: float = 0.0
    tokenizer: FakeTokenizer = field(default_factory=FakeTokenizer)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, the unknown one included."""
        return self.tokenizer.vocabulary_size

    @property
    def unknown_id(self) -> int:
        """Id of characters outside the alphabet."""
        return self.tokenizer.unknown_id

    @property
    def digest(self) -> str:
        """Hash of the alphabet."""
        return self.tokenizer.digest

    def encode(self, text: str) -> list[int]:
        """Return one id per character, if nothing goes wrong."""
        if self.dies_once is not None and not self.dies_once.exists():
            self.dies_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if text in self.slow_texts:
            time.sleep(self.delay_s)
        return self.tokenizer.encode(text)


Kind = Literal["SIGKILL", "SIGTERM", "SIGSTOP", "exception"]
Moment = Literal["first step", "mid-window", "validating", "saving"]


class InjectedError(Exception):
    """Not a fault of anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFault:
    """What happens once to one rank of a run.

    Attributes:
        once: file that remembers that it has happened.
        step: of "mid-window".
    """

    kind: Kind
    rank: int
    moment: Moment
    once: Path
    step: int = 4

    def mark(self, doing: str, step: int | None = None) -> None:
        """Strike when the rank begins what it is to be struck in; takes what `Pulse.mark` takes."""
        if doing == "waiting for data":
            due = {"first step": 1, "mid-window": self.step}.get(self.moment) == step
        else:
            due = doing == {"validating": "validating", "saving": "saving a checkpoint"}.get(self.moment)
        if due:
            self.strike()

    def strike(self) -> None:
        """Do it, unless it was done."""
        if self.once.exists():
            return
        self.once.touch()
        if self.kind == "exception":
            raise InjectedError(f"injected on rank {self.rank}: {self.moment}")
        os.kill(os.getpid(), getattr(signal, self.kind))
