"""What is measured, for how long, and where the record goes: jobs/calibrate.py."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.settings.train import TrainSettings


class CalibrateSettings(TrainSettings):
    """What a training step of a run costs on this machine: the keys of jobs/train.py, and these."""

    out: Path | None = None
    """Record to write; null is `data.calibration`, or else RUN/calibration.json."""
    durations_s: list[PositiveFloat] = [1.0, 5.0, 10.0, 20.0, 40.0]
    """Lengths of the utterances of measured batches; those above `data.batch_s` are left out."""
    tokens_per_s: PositiveFloat | None = None
    """Dense but usual speech; null takes what 95% of `data.train` stay below, or 8 without such a folder."""
    headroom: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the device's memory that the largest batch leaves free."""
    repeats: PositiveInt = 5
    """Steps timed of each batch, after one that is not; their median counts."""

    @model_validator(mode="after")
    def _lengths_to_compare(self) -> Self:
        batch_s = self.data.batch_s or max(self.durations_s, default=0.0)
        if len({length for length in self.durations_s if length <= batch_s}) < 2:
            raise ValueError(
                f"durations_s: fewer than two lengths fit into a batch of {batch_s:g} s; give shorter ones"
            )
        return self

    @property
    def record(self) -> Path:
        """Where the record goes."""
        return self.out or self.data.calibration or self.run_dir / "calibration.json"
