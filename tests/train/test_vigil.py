"""What the main thread makes of signals, stop requests, failures and ranks that hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError

from asr_ray.config import load
from asr_ray.errors import DataError, Interrupted, TrainingError
from asr_ray.records import Position
from asr_ray.settings import TrainSettings
from asr_ray.train import vigil
from asr_ray.train.checkpoint import CheckpointStore, RunState
from asr_ray.train.survival.pulse import Beat, Pulse
from asr_ray.train.survival.stopping import request_stop, request_stop_of_worker, requested_by
from asr_ray.train.vigil import StopOnSignal, Vigil, fit

MAX_STEPS = 4


@dataclass
class Trainer:
    """What `fit` calls in its thread."""

    fit: Callable[[], None]


def settings_for(run_dir: Path, *sets: str) -> TrainSettings:
    given = (f"run_dir={run_dir}", "data.train=t", "data.validation=v", "model.base=micro")
    roles = (f"max_steps={MAX_STEPS}", "optim.warmup_steps=1", "validation.targets=[el-GR]")
    return load(None, schema=TrainSettings, sets=[*given, *roles, *sets]).settings


def fit_with(run_dir: Path, act: Callable[[], None]) -> bool:
    trainer: Any = Trainer(act)
    return fit(trainer, settings=settings_for(run_dir), watch=None)


def commit(run_dir: Path, *, step: int) -> None:
    state = RunState(step=step, position=Position(step=step), world_size=1, plan_digest="p")
    CheckpointStore(run_dir).commit(state, writers={})


def test_the_first_signal_asks_and_the_second_ends(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal(tmp_path):
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested_by(tmp_path) == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert requested_by(tmp_path) is None
    assert signal.getsignal(signal.SIGTERM) == before


def test_whoever_asks_for_a_stop_the_run_is_interrupted(tmp_path: Path) -> None:
    commit(tmp_path, step=2)
    with pytest.raises(Interrupted, match="stopped by the night shift, checkpoint committed") as told:
        fit_with(tmp_path, lambda: request_stop(tmp_path, by="the night shift"))
    assert told.value.exit_code == 6
    assert requested_by(tmp_path) is None


def test_a_request_that_came_after_the_last_step_is_none(tmp_path: Path) -> None:
    commit(tmp_path, step=MAX_STEPS)
    assert not fit_with(tmp_path, lambda: request_stop(tmp_path, by="somebody"))


def test_a_worker_that_has_to_go_does_not_end_the_run(tmp_path: Path) -> None:
    commit(tmp_path, step=2)
    assert fit_with(tmp_path, lambda: request_stop_of_worker(tmp_path, where="process 7 on node-3"))
    assert requested_by(tmp_path) is None


def test_a_stop_of_the_whole_machine_ends_it(tmp_path: Path) -> None:
    """Slurm sends its SIGTERM to workers and driver alike."""
    commit(tmp_path, step=2)

    def stop() -> None:
        request_stop_of_worker(tmp_path, where="process 7 on node-3")
        os.kill(os.getpid(), signal.SIGTERM)
        request_stop_of_worker(tmp_path, where="process 8 on node-3")

    with pytest.raises(Interrupted, match="stopped by SIGTERM, checkpoint committed"):
        fit_with(tmp_path, stop)


@pytest.mark.parametrize(
    ("cause", "kind"), [(DataError("no shard", fix="find it"), DataError), (ActorDiedError(), TrainingError)]
)
def test_a_failure_is_told_by_its_cause(tmp_path: Path, cause: Exception, kind: type[Exception]) -> None:
    def fail() -> None:
        raise WorkerGroupError("", {1: cause})

    with pytest.raises(kind, match="training failed: rank 1"):
        fit_with(tmp_path, fail)


def test_a_rank_that_hangs_is_ended_and_named_and_a_dead_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, asked = [True], []

    def end(beat: Beat) -> bool:
        asked.append(beat.rank)
        return alive[0]

    monkeypatch.setattr(vigil, "_end_on_node", end)
    with Pulse(tmp_path, rank=2, node="n", timeout_s=0.05) as pulse:
        pulse.mark("computing", 7)
        watch = Vigil(tmp_path, timeout_s=0.05)
        while not watch.hangs:
            watch.look()
        assert watch.hangs[0].startswith(f"rank 2 (process {os.getpid()} on ")
        assert "hung at step 7" in watch.hangs[0]
        alive[0] = False
        gone = Vigil(tmp_path, timeout_s=0.05)
        while len(asked) < 3:
            gone.look()
        assert gone.hangs == []


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_process_is_ended_on_the_node_where_it_runs() -> None:
    import ray

    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    born = psutil.Process(process.pid).create_time()
    here = ray.get_runtime_context().get_node_id()
    beat = Beat(rank=0, host="here", node=here, pid=process.pid, born=born)
    assert vigil._end_on_node(beat)
    assert process.wait() == -signal.SIGKILL
    assert not vigil._end_on_node(beat)
