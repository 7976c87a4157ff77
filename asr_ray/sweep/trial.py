"""One trial: a light driver that makes one training run, by the code of jobs/train.py, and says how it goes.

The driver watches the run's own `metrics.jsonl`, as the progress display does. So what it tells survives
its own death: a driver that is started again reads the same rows and goes on.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asr_ray.errors import AsrRayError, ConfigError, Interrupted, TrainingError
from asr_ray.metrics import metrics_path, read
from asr_ray.settings import TrainSettings
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.judging.choice import stop_reason
from asr_ray.train.survival.lock import only_run

Tell = Callable[[Mapping[str, Any]], None]

RUNG, DONE, FAILED, PAUSED = "rung", "done", "failed", "paused"
"""What a trial tells: a validation, its end, its end in an error, or that it was asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a driver is given.

    Attributes:
        retries: how often a run that failed goes on from its last checkpoint.
        until_step: where the run pauses and the trial ends; None trains to the end.
        parent: run whose newest checkpoint is the beginning of this one, if it has none of its own.
    """

    name: str
    settings: TrainSettings
    retries: int = 0
    until_step: int | None = None
    parent: Path | None = None


_EARLIER_DRIVER_S = 120.0


class Driver(Protocol):
    """`drive`, or something that keeps its promises."""

    def __call__(self, task: Task, *, tell: Tell) -> None:
        """Make the run of a task and tell of it."""
        ...


def drive(task: Task, *, tell: Tell) -> None:
    """Train one run to its end and tell of every validation; never raises what a record can hold."""
    # Late: the process of a sweep reads this module, and only drivers need all of training.
    from asr_ray.train.run import run_training

    _wait_for(task.settings.run_dir)
    if task.parent is not None:
        take_over(task.parent, run_dir=task.settings.run_dir)
    told = 0

    def watch(run_dir: Path) -> None:
        nonlocal told
        rows = [row for row in read(metrics_path(run_dir)) if row["kind"] == "validation" and row["step"]]
        for row in rows[told:]:
            tell({RUNG: row})
        told = max(told, len(rows))

    try:
        for attempt in range(task.retries + 1):
            try:
                run_training(task.settings, watch=watch, until_step=task.until_step)
                break
            except TrainingError:
                if attempt == task.retries:
                    raise
    except Interrupted:
        watch(task.settings.run_dir)
        state = state_of(task.settings.run_dir)
        paused = task.until_step is None or state.get("step") != task.until_step
        tell({PAUSED if paused else DONE: state})
    except AsrRayError as error:
        tell({FAILED: error.message})
    else:
        watch(task.settings.run_dir)
        tell({DONE: end_of(task.settings)})


def _wait_for(run_dir: Path) -> None:
    """Wait until the driver of an earlier start, which may outlive its sweep for a moment, is gone."""
    deadline_s = time.monotonic() + _EARLIER_DRIVER_S
    while time.monotonic() < deadline_s:
        try:
            with only_run(run_dir):
                return
        except ConfigError:
            time.sleep(1.0)


def state_of(run_dir: Path) -> dict[str, Any]:
    """Return step, consumed_s by "locale/source" and elapsed_s of the newest checkpoint; {} without one."""
    found = CheckpointStore(run_dir).newest()
    if found is None:
        return {}
    state = found[1]
    return {"step": state.step, "consumed_s": dict(state.consumed_s), "elapsed_s": state.elapsed_s}


def end_of(settings: TrainSettings) -> dict[str, Any]:
    """Return `state_of` a run that ended by itself, and in `reason` why that was before its last step."""
    found = CheckpointStore(settings.run_dir).newest()
    reason = stop_reason(found[1].validations, settings=settings) if found else None
    return {**state_of(settings.run_dir), "reason": reason}


def take_over(parent: Path, *, run_dir: Path) -> None:
    """Make the newest checkpoint of another run, its books and its metrics, the beginning of a run.

    The two runs must agree on everything up to that step, their mixes too. Does nothing for a run that has
    a checkpoint of its own.

    Raises:
        TrainingError: the other run has none.
    """
    if CheckpointStore(run_dir).newest() is not None:
        return
    found = CheckpointStore(parent).newest()
    if found is None:
        raise TrainingError(f"{parent} has no checkpoint to go on from", fix="start the sweep afresh")
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("ledger", "validation"):
        if (parent / name).is_dir():
            shutil.copytree(parent / name, run_dir / name, dirs_exist_ok=True)
    shutil.copy(metrics_path(parent), metrics_path(run_dir))
    # Last, and under its name only when whole: the checkpoint is what makes the rest count.
    path = found[0]
    copy = run_dir / path.parent.name / f".copying-{path.name}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    copy.rename(copy.with_name(path.name))


def tidy(run_dir: Path) -> None:
    """Remove weights and Ray's bookkeeping of a run that lost; what explains it stays."""
    for name in ("checkpoints", "ray"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
    (run_dir / "best.nemo").unlink(missing_ok=True)
