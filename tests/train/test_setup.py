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


def test_the_tiny_base_stays_a_name() -> None:
    # A submitted job has a copy of the package that is gone when its run is exported.
    settings = TrainSettings.model_validate(
        {
            "run_dir": "runs/x",
            "data": {"train": "data/train", "validation": "data/validation"},
            "model": {"base": "tiny"},
            "validation": {"targets": ["el-GR"]},
        }
    )
    assert with_absolute_paths(settings).model.base == "tiny"


def test_so_do_those_of_noises_and_rooms_also_of_single_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.nemo").touch()
    augment = {"noise": {"path": "noise"}, "room": {"path": "rooms"}}
    sources = {"radio": {"augment": {"noise": {"path": "hum"}}}, "books": {"prompt_mode": "auto"}}
    settings = TrainSettings.model_validate(
        {
            "run_dir": "r",
            "data": {"train": "t", "validation": "v", "augment": augment, "sources": sources},
            "model": {"base": "base.nemo"},
            "validation": {"targets": ["el-GR"]},
        }
    )
    data = with_absolute_paths(settings).data
    assert data.sources is not None
    radio, books = data.sources["radio"].augment, data.sources["books"]
    assert data.augment.noise and data.augment.room and radio and radio.noise
    paths = [data.augment.noise.path, data.augment.room.path, radio.noise.path]
    assert paths == [tmp_path / name for name in ("noise", "rooms", "hum")]
    assert (books.augment, books.prompt_mode) == (None, "auto")
