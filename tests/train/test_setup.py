"""Workers run in another folder than the job: every path they get is absolute."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_ray.settings import TrainSettings
from asr_ray.train.setup import with_absolute_paths


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.nemo").touch()
    settings = TrainSettings.model_validate(
        {
            "run_dir": "runs/x",
            "data": {"train": "data/train", "validation": "data/validation"},
            "model": {"base": "base.nemo"},
            "validation": {"targets": ["el-GR"]},
        }
    )
    absolute = with_absolute_paths(settings)
    assert absolute.run_dir == tmp_path / "runs/x"
    assert absolute.data.train == tmp_path / "data/train"
    assert absolute.data.validation == tmp_path / "data/validation"
    assert absolute.model.base == str(tmp_path / "base.nemo")
