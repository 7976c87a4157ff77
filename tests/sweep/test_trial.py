"""What a trial leaves, takes over from another and tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asr_ray.config import load
from asr_ray.errors import TrainingError
from asr_ray.metrics import metrics_path, read
from asr_ray.settings import TrainSettings
from asr_ray.sweep.trial import DONE, FAILED, RUNG, Task, drive, state_of, take_over, tidy
from asr_ray.testing.pretend import pretend, starts
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.judging.validate import counts_path


def settings_for(run_dir: Path) -> TrainSettings:
    sets = ["data.train=t", "data.validation=v", "model.base=absent.nemo", "validation.targets=[el-GR]"]
    steps = ["max_steps=6", "optim.warmup_steps=1", "validation.every_steps=2"]
    return load(None, schema=TrainSettings, sets=[f"run_dir={run_dir}", *sets, *steps]).settings


def told(task: Task) -> list[Mapping[str, Any]]:
    said: list[Mapping[str, Any]] = []
    pretend(task, tell=said.append)
    return said


def test_a_run_goes_on_from_where_another_paused(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    said = told(Task(name="parent", settings=settings_for(parent), until_step=4))
    assert [row[RUNG]["step"] for row in said[:-1]] == [2, 4]
    assert said[-1] == {DONE: state_of(parent)}
    assert not (parent / "best.nemo").exists()

    said = told(Task(name="child", settings=settings_for(child), parent=parent))
    assert starts(child) == [4]
    assert [row[RUNG]["step"] for row in said[:-1]] == [2, 4, 6]
    assert [row["step"] for row in read(metrics_path(child))] == [2, 4, 6]
    assert counts_path(child, step=2).read_text() == counts_path(parent, step=2).read_text()
    # Started again, it has a checkpoint of its own.
    told(Task(name="child", settings=settings_for(child), parent=parent))
    assert starts(child) == [4, 6]


def test_a_copy_that_was_cut_off_is_no_checkpoint(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    told(Task(name="parent", settings=settings_for(parent), until_step=2))
    cut = child / "checkpoints/.copying-step-00000002"
    cut.mkdir(parents=True)
    (cut / "state.json").write_text("{")
    take_over(parent, run_dir=child)
    assert CheckpointStore(child).steps() == [2]
    assert state_of(child) == state_of(parent)
    with pytest.raises(TrainingError, match="no checkpoint to go on from"):
        take_over(tmp_path / "absent", run_dir=tmp_path / "other")


def test_what_lost_keeps_what_explains_it(tmp_path: Path) -> None:
    told(Task(name="run", settings=settings_for(tmp_path)))
    (tmp_path / "ray").mkdir()
    tidy(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"metrics.jsonl", "validation", "starts"}
    assert state_of(tmp_path) == {}


def test_a_run_that_cannot_be_is_told_and_not_raised(tmp_path: Path) -> None:
    said: list[Mapping[str, Any]] = []
    drive(Task(name="run", settings=settings_for(tmp_path), retries=3), tell=said.append)
    [only] = said
    assert "absent.nemo" in only[FAILED]
