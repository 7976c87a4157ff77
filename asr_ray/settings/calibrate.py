"""What is measured, for how long, and where the record goes: jobs/calibrate.py."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt

from asr_ray.settings.train import TrainSettings


class CalibrateSettings(TrainSettings):
    """What a training step of a run costs on this machine: the keys of jobs/train.py, and these."""

    out: Path | None = None
    """Record to write; null is `data.calibration`, or else RUN/calibration.json."""
    durations_s: list[PositiveFloat] = Field([1.0, 5.0, 10.0, 20.0, 40.0], min_length=2)
    """Lengths of the utterances of measured batches; those above `data.batch_s` are left out."""
    tokens_per_s: PositiveFloat | None = None
    """Dense but usual speech; null takes what 95% of `data.train` stay below, or 8 without such a folder."""
    headroom: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the device's memory that the largest batch leaves free."""
    repeats: PositiveInt = 5
    """Steps timed of each batch, after one that is not; their median counts."""

    @property
    def record(self) -> Path:
        """Where the record goes."""
        return self.out or self.data.calibration or self.run_dir / "calibration.json"
