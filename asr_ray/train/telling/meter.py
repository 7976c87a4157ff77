"""What a run reports of the steps between two lines of its metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Meter:
    """What happened since the last line of metrics."""

    steps: int = 0
    skipped: int = 0
    loss_sum: float = 0.0
    loss_utterances: float = 0.0
    utterances: float = 0.0
    audio_s: float = 0.0
    wait_s: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, *, utterances: float, loss_sum: float, audio_s: float, applied: bool) -> None:
        """Count one step; the loss of a skipped one is no number and stays out of the mean."""
        self.steps += 1
        self.utterances += utterances
        self.audio_s += audio_s
        if applied:
            self.loss_sum += loss_sum
            self.loss_utterances += utterances
        else:
            self.skipped += 1

    def row(self) -> dict[str, float | None]:
        """Averages over the steps metered; the loss is None when all of them were skipped."""
        elapsed_s = max(1e-9, time.monotonic() - self.started)
        return {
            "loss": self.loss_sum / self.loss_utterances if self.loss_utterances else None,
            "skipped_steps": self.skipped,
            "audio_s_per_s": self.audio_s / elapsed_s,
            "data_wait_share": self.wait_s / elapsed_s,
            "utterances": self.utterances,
        }
