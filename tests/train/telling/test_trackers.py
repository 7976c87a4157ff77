"""Who is told of a run: numbers arrive, texts and secrets do not, and no tracker can stop anything."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from asr_ray.config import load
from asr_ray.errors import ConfigError
from asr_ray.metrics import metrics_path, read
from asr_ray.settings import TrainSettings
from asr_ray.train.telling import trackers
from asr_ray.train.telling.trackers import Follower, RunLog, TensorBoard, scalars_of, trackers_of

STEP = {
    "kind": "step",
    "step": 10,
    "lr": 2e-4,
    "elapsed_s": 9.0,
    "loss": 3.5,
    "skipped_steps": 1,
    "audio_s_per_s": 80.0,
    "data_wait_share": 0.01,
    "utterances": 7.0,
}
SCORE = {"rate": 0.25, "empty_rate": 0.0, "tag_accuracy": None, "utterances": 30}
VALIDATION = {
    "kind": "validation",
    "step": 10,
    "audio_s": 7200.0,
    "locales": {"el-GR": SCORE},
    "consumed_s": {"el-GR/radio": 3600.0},
    "best_step": 10,
}


def settings_for(run_dir: Path, *sets: str) -> TrainSettings:
    run_dir.mkdir(exist_ok=True)
    given = (f"run_dir={run_dir}", "data.train=t", "data.validation=v", "model.base=tiny")
    return load(None, schema=TrainSettings, sets=[*given, "validation.targets=[el-GR]", *sets]).settings


def curves_of(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run_dir / "tensorboard"))
    found.Reload()
    return {
        name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]
    }


def test_each_number_of_a_row_has_a_curve() -> None:
    assert scalars_of(STEP) == {
        "train/loss": 3.5,
        "train/learning_rate": 2e-4,
        "train/skipped_steps": 1.0,
        "train/audio_s_per_s": 80.0,
        "train/data_wait_share": 0.01,
    }
    assert scalars_of(VALIDATION) == {
        "validation/el-GR/rate": 0.25,
        "validation/el-GR/empty_rate": 0.0,
        "validation/el-GR/utterances": 30.0,
        "hours/el-GR/radio": 1.0,
        "hours/all": 2.0,
    }


def test_what_is_no_number_has_none() -> None:
    assert "train/loss" not in scalars_of(STEP | {"loss": None})
    assert "train/loss" not in scalars_of(STEP | {"loss": math.nan})
    assert scalars_of({"kind": "stopped", "step": 3, "reason": "guards"}) == {}


def test_tensorboard_hides_what_a_resumed_run_does_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for resumed_at, loss in ((-1, 5.0), (10, 3.0)):
        run = RunLog(settings)
        run.start(step=resumed_at)
        for step in range(resumed_at + 1, 21, 5):
            run.append(STEP | {"step": step, "loss": loss})
        run.close()

    assert curves_of(tmp_path)["train/loss"] == [(0, 5.0), (5, 5.0), (10, 5.0), (11, 3.0), (16, 3.0)]
    assert [row["step"] for row in read(metrics_path(tmp_path))] == [0, 5, 10, 11, 16]


class Broken:
    """Fails where it is told to."""

    name = "Broken"

    def __init__(self, where: str) -> None:
        self.where = where
        self.called: list[str] = []

    def _call(self, name: str) -> None:
        self.called.append(name)
        if name == self.where:
            raise ValueError("key hf_canary was refused")

    def start(self, *, step: int) -> None:
        self._call("start")

    def log(self, scalars: Mapping[str, float], *, step: int) -> None:
        self._call("log")

    def close(self) -> None:
        self._call("close")


@pytest.mark.parametrize(
    ("where", "called"),
    [("start", ["start"]), ("log", ["start", "log"]), ("close", ["start", "log", "log", "close"])],
)
def test_a_tracker_that_fails_is_named_once_and_left_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    called: list[str],
) -> None:
    broken, settings = Broken(where), settings_for(tmp_path)
    monkeypatch.setattr(trackers, "trackers_of", lambda settings: [broken, TensorBoard(tmp_path)])
    run = RunLog(settings)
    run.start(step=-1)
    run.append(STEP)
    run.append(STEP | {"step": 20})
    with caplog.at_level(logging.WARNING):
        run.close()

    assert broken.called == called
    (warning,) = [record.getMessage() for record in caplog.records if "Broken" in record.getMessage()]
    assert warning.startswith("Broken failed (ValueError) and is left alone")
    assert "canary" not in caplog.text
    # The others are not touched by it.
    assert [step for step, _ in curves_of(tmp_path)["train/loss"]] == [10, 20]


def test_a_tracker_that_hangs_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    class Hanging(Broken):
        def log(self, scalars: Mapping[str, float], *, step: int) -> None:
            released.wait()

    released = threading.Event()
    follower = Follower(Hanging("nowhere"), step=-1)
    for step in range(3):
        follower.log({"train/loss": 1.0}, step=step)
    follower.close(deadline=0.0)
    released.set()
    assert "Broken did not finish in time" in caplog.text


def test_only_what_is_asked_for_is_told(tmp_path: Path) -> None:
    assert [tracker.name for tracker in trackers_of(settings_for(tmp_path))] == ["TensorBoard"]
    both = settings_for(tmp_path, "trackers.wandb={project: p}", "trackers.mlflow={experiment: e}")
    assert [tracker.name for tracker in trackers_of(both)] == ["TensorBoard", "Weights & Biases", "MLflow"]


def test_an_address_with_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD"):
        settings_for(tmp_path, "trackers.mlflow={tracking_uri: 'https://me:secret@host'}")


def follow_twice(settings: TrainSettings, *, between: Callable[[], None] = lambda: None) -> None:
    """A run that is stopped after its first row and taken up again; `between` ends what a process ends."""
    for resumed_at, row in ((-1, STEP), (10, VALIDATION | {"step": 20})):
        run = RunLog(settings)
        run.start(step=resumed_at)
        run.append(row)
        run.close()
        between()


def test_wandb_offline_gets_numbers_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HF_TOKEN", "hf_canary_of_a_token")
    run_dir = tmp_path / "greek"
    # The service of a process may end a run of the same id that begins while it still tidies up.
    follow_twice(settings_for(run_dir, "trackers.wandb={project: p}"), between=wandb.teardown)

    assert "Weights & Biases" not in caplog.text
    (first, second) = sorted(run_dir.glob("wandb/offline-run-*/run-*.wandb"))
    run_id = json.loads((run_dir / "trackers.json").read_text())["wandb"]
    assert first.name == second.name == f"run-{run_id}.wandb"
    assert b"train/loss" in first.read_bytes()
    assert b"validation/el-GR/rate" in second.read_bytes()
    assert not [path for path in files_below(run_dir) if b"canary" in path.read_bytes()]


def test_mlflow_gets_numbers_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    # Its files, in place of a server.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store, run_dir = f"file:{tmp_path / 'store'}", tmp_path / "greek"
    settings = settings_for(run_dir, f"trackers.mlflow={{experiment: e, tracking_uri: '{store}'}}")
    follow_twice(settings)

    assert "MLflow" not in caplog.text
    client: Any = MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert (run.info.run_name, run.info.status) == ("greek", "FINISHED")
    assert run.data.params["validation.targets"] == "['el-GR']"
    assert run.data.metrics["train/loss"] == 3.5
    (point,) = client.get_metric_history(run.info.run_id, "validation/el-GR/rate")
    assert (point.step, point.value) == (20, 0.25)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
