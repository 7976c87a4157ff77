"""A run on real Ray Train workers survives the SIGKILL of one of them and loses or repeats nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from asr_ray.data.feed import planned_dataset
from asr_ray.data.planned import ResumePoint
from asr_ray.errors import DataError
from asr_ray.metrics import metrics_path, read
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Position
from asr_ray.settings import MixSettings, TrainSettings
from asr_ray.testing.prepared import write_prepared
from asr_ray.train import ledger
from asr_ray.train.checkpoint import CheckpointStore, RunState
from asr_ray.train.run import build_trainer, check_texts, planned_seconds, run_training
from asr_ray.train.setup import planned_data
from tests.train.runs import booked, due

MAX_STEPS = 12
KILL_AFTER_STEP = 4


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, micro_nemo: Path) -> TrainSettings:
    """Two workers, a few seconds of noise per batch, a checkpoint every two steps."""
    root = tmp_path_factory.mktemp("run")
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    write_prepared(root / "train", {("el-GR", "noise"): 60, ("en-US", "noise"): 40}, tokenizer=tokenizer)
    write_prepared(root / "validation", {("el-GR", "noise"): 3, ("en-US", "noise"): 3}, tokenizer=tokenizer)
    return TrainSettings.model_validate(
        {
            "run_dir": root / "run",
            "max_steps": MAX_STEPS,
            "data": {
                "train": root / "train",
                "validation": root / "validation",
                "batch_s": 4.0,
                "window_utterances": 24,
                "mix": {"alpha": 0.0},
            },
            # The made-up words have letters that the tokenizer lacks.
            "model": {"base": str(micro_nemo), "max_unknown_share": 0.2},
            "optim": {"warmup_steps": 2},
            "validation": {"targets": ["el-GR"], "guards": ["en-US"], "every_steps": 6},
            "checkpoint": {"every_steps": 2, "average": 2},
            "resources": {"num_workers": 2, "cpus_per_worker": 0.5, "threads_per_worker": 1},
        }
    )


class Killer:
    """Watches a run and kills one training worker, once, when a checkpoint far enough is committed."""

    def __init__(self) -> None:
        self.killed_at: int | None = None

    def __call__(self, run_dir: Path) -> None:
        newest = max(CheckpointStore(run_dir).steps(), default=0)
        if self.killed_at is None and newest >= KILL_AFTER_STEP:
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "RayTrainWorker" in " ".join(process.cmdline())
            ]
            os.kill(workers[-1].pid, signal.SIGKILL)
            self.killed_at = newest


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_worker_costs_no_utterance(settings: TrainSettings, killed: bool) -> None:
    settings = settings.model_copy(update={"run_dir": settings.run_dir / ("killed" if killed else "whole")})
    killer = Killer()
    summary = run_training(settings, watch=killer if killed else None)
    if killed:
        assert killer.killed_at is not None
        assert killer.killed_at < MAX_STEPS
    assert summary.steps == MAX_STEPS
    assert summary.best_model.is_file()
    assert booked(settings.run_dir) == due(settings, world_sizes=[2] * MAX_STEPS)
    total_s = sum(row["seconds"] for row in ledger.read(settings.run_dir).to_pylist())
    assert sum(summary.consumed_s.values()) == pytest.approx(total_s)
    assert set(json.loads((settings.run_dir / "coverage.json").read_text())) == {"el-GR", "en-US"}
    record = json.loads((settings.run_dir / "best.json").read_text())
    (average,) = [row for row in read(metrics_path(settings.run_dir)) if row["kind"] == "average"]
    assert average["of_steps"][0] == summary.best_step
    assert record["steps"] == (average["of_steps"] if average["taken"] else [summary.best_step])
    # Finished runs are handed out again, not run again.
    assert run_training(settings).best_sha256 == summary.best_sha256


def test_texts_that_the_tokenizer_cannot_write_end_a_run_before_it_starts(
    settings: TrainSettings, tmp_path: Path
) -> None:
    strict = settings.model.model_copy(update={"max_unknown_share": 0.0})
    refused = settings.model_copy(update={"model": strict, "run_dir": tmp_path})
    with pytest.raises(DataError, match="has no piece for"):
        check_texts(refused, planned=planned_data(refused))
    assert (tmp_path / "coverage.json").is_file()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_labels_place_the_workers_and_every_task_of_the_feed(settings: TrainSettings) -> None:
    labels = {"worker_labels": {"pool": "gpu"}, "decode_labels": {"pool": "cpu"}}
    placed = settings.model_copy(update={"resources": settings.resources.model_copy(update=labels)})
    planned = planned_data(placed)
    trainer = build_trainer(placed, planned=planned)
    assert trainer.scaling_config.label_selector == {"pool": "gpu"}
    start = ResumePoint(position=Position(), world_size=2, steps_taken=0)
    # As `configure` does it in the controller, under the context that the trainer takes along.
    feed = planned_dataset(planned, start, world_size=2)
    assert feed.context.execution_options.label_selector == {"pool": "cpu"}
    elastic = settings.resources.model_copy(update={"num_workers": (1, 2)})
    trainer = build_trainer(settings.model_copy(update={"resources": elastic}), planned=planned)
    assert trainer.scaling_config.num_workers == (1, 2)
    feed = planned_dataset(planned, start, world_size=2)
    assert feed.context.execution_options.label_selector is None


def test_what_was_asked_for_follows_the_mixes_as_they_held(settings: TrainSettings) -> None:
    ratios = [{"el-GR": 1}, {"en-US": 1}]
    mix = MixSettings.model_validate(
        {"ratios": ratios[0], "schedule": [{"from_step": 10, "ratios": ratios[1]}]}
    )
    scheduled = settings.model_copy(update={"data": settings.data.model_copy(update={"mix": mix})})
    data = planned_data(scheduled)
    steps = list(itertools.islice(data.plan.steps(Position(), world_size=2), MAX_STEPS))
    catalog = data.plan.catalog
    consumed_s = {"el-GR/noise": 0.0, "en-US/noise": 0.0}
    for row in np.concatenate([rows for step in steps for rows in step.batches]):
        consumed_s["/".join(catalog.keys[catalog.key_of_row[row]])] += float(catalog.durations_s[row])
    state = RunState(
        step=MAX_STEPS,
        position=steps[-1].after,
        world_size=2,
        plan_digest="",
        consumed_s=consumed_s,
        mixes=data.mixes_by_name,
    )
    # Only one source at a time, so what was asked for is what was read, within what windows promise.
    half_s = float(catalog.durations_s.max()) / 2
    assert planned_seconds(state, planned=data) == pytest.approx(consumed_s, rel=0, abs=half_s)
    assert min(consumed_s.values()) > 0
    unknown = planned_data(settings)
    assert planned_seconds(state, planned=unknown) == pytest.approx(consumed_s, rel=0, abs=half_s)
