"""Things that go wrong on purpose, inside the tasks that read training data."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

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
