"""What the doctor looks at: jobs/doctor.py."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt

from asr_ray.config import Settings


class DoctorSettings(Settings):
    """The machine or cluster, against what a run needs."""

    storage: list[Path] = [Path("runs")]
    """Folders that every node must see under the same path: those of runs and of prepared data."""
    gpus: int = Field(0, ge=0)
    """GPUs that the run will ask for."""
    checkpoint_gb: PositiveFloat = 7.7
    """Weights and AdamW state of the real base in fp32; the tiny base needs 0.1."""
    model_gb: PositiveFloat = 2.6
    """One `.nemo` file of the real base."""
    keep: PositiveInt = 2
    """As checkpoint.keep of the run."""
    max_clock_skew_s: PositiveFloat = 1.0
    """Largest difference between the clock of a node and that of the driver."""
    constraints: Path = Path("constraints.txt")
    """The versions in which the tests passed."""
    timeout_s: PositiveFloat = 120.0
    """How long a node may take to answer one question."""
