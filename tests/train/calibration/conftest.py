"""A record and a run that belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asr_ray.config import load
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.settings import TrainSettings
from asr_ray.train.calibration.record import (
    BatchLimit,
    Calibration,
    CostFit,
    Device,
    LargestBatch,
    Point,
    Shape,
    Subject,
)

Configure = Callable[..., TrainSettings]


@pytest.fixture
def configure(micro_nemo: Path) -> Configure:
    """Settings of a run of `micro_nemo` with some overrides."""

    def settings(*sets: str) -> TrainSettings:
        given = ("data.train=t", "data.validation=v", "run_dir=r", "validation.targets=[el-GR]")
        return load(None, schema=TrainSettings, sets=[f"model.base={micro_nemo}", *given, *sets]).settings

    return settings


@pytest.fixture
def calibration(micro_nemo: Path, configure: Configure) -> Calibration:
    """What a GPU of 24 GB might have given for `micro_nemo`."""
    archive = inspect_nemo(micro_nemo)
    return Calibration(
        measured_on="2026-11-23",
        model=str(micro_nemo),
        sha256=archive.sha256,
        subject=Subject.of(configure(), archive=archive),
        att_context_sizes=[(56, 3), (56, 0)],
        device=Device(name="GPU of 24 GB", memory_bytes=24 * 10**9, threads=None, torch="2", cuda="13"),
        cost=CostFit(a=1 / 3, b=0.1, c=1e-7, d=0.02, median_error=0.01, worst_error=0.1),
        tokens_per_s=8.0,
        headroom=0.1,
        memory=None,
        largest=[LargestBatch(duration_s=1.0, num_tokens=8, utterances=90, predicted_utterances=None)],
        limit=BatchLimit(batch_s=90.0, max_batch_utterances=90),
        points=[Point(shape=Shape(utterances=2, duration_s=1.0, num_tokens=8), step_s=0.5, peak_bytes=10**9)],
    )


@pytest.fixture
def record(calibration: Calibration, tmp_path: Path) -> Callable[..., Path]:
    """Write the calibration, changed or not; return its path."""

    def written(**changes: Any) -> Path:
        path = tmp_path / "calibration.json"
        calibration.model_copy(update=changes).write(path)
        return path

    return written
