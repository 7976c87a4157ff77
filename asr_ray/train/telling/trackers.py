"""Who is told of a run: its own metrics file always, TensorBoard always, W&B and MLflow where asked for.

A tracker gets numbers and the settings, never a text or an environment variable. It works in a thread of
its own: whatever it raises, and however long it waits for a server, the run goes on. One that failed is
named once in the log and left alone.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Mapping
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Protocol

from asr_ray.config import flat
from asr_ray.files import write_whole
from asr_ray.metrics import MetricsFile, Row
from asr_ray.settings import TrainSettings

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 60.0
"""How long the end of a run waits for its trackers."""

_RUNS = "trackers.json"
_NAMES = {
    "loss": "train/loss",
    "lr": "train/learning_rate",
    "skipped_steps": "train/skipped_steps",
    "audio_s_per_s": "train/audio_s_per_s",
    "data_wait_share": "train/data_wait_share",
}


class Tracker(Protocol):
    """A service that draws curves. All its methods are called in one thread of their own."""

    name: str

    def start(self, *, step: int) -> None:
        """Open the run, or go on with it; what was logged of later steps than `step` does not hold."""

    def log(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Add points to curves."""

    def close(self) -> None:
        """End the run and send what is left."""


def scalars_of(row: Row) -> dict[str, float]:
    """Return the numbers of a row of `metrics.jsonl` by the names of their curves; finite ones only."""
    if row["kind"] == "step":
        found = {curve: row.get(name) for name, curve in _NAMES.items()}
    elif row["kind"] == "validation":
        found = {
            f"validation/{tag}/{name}": value
            for tag, score in row["locales"].items()
            for name, value in score.items()
        }
        found |= {f"hours/{key}": seconds / 3600 for key, seconds in row.get("consumed_s", {}).items()}
        found["hours/all"] = row.get("audio_s", 0.0) / 3600
    else:
        found = {}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


class RunLog:
    """The metrics file of a run and those that follow it; used by rank 0 only."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.file = MetricsFile(settings.run_dir)
        self._followers: list[Follower] = []

    def start(self, *, step: int) -> None:
        """Go on after `step` (-1 for a run from the beginning); rows of later steps are dropped."""
        self.file.truncate(step=step)
        self._followers = [Follower(tracker, step=step) for tracker in trackers_of(self.settings)]

    def append(self, row: Row) -> None:
        """Write a row down and pass its numbers on."""
        self.file.append(row)
        scalars = scalars_of(row)
        if scalars:
            for follower in self._followers:
                follower.log(scalars, step=row["step"])

    def close(self) -> None:
        """Let the trackers send what is left, for a minute at most."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        for follower in self._followers:
            follower.close(deadline=deadline)
        self._followers = []


class Follower:
    """Keeps a tracker in a thread of its own, and at a distance."""

    def __init__(self, tracker: Tracker, *, step: int) -> None:
        self.tracker = tracker
        # Its threads are daemons, which do not keep a process alive, and it catches what they raise.
        self._pool = ThreadPool(1)
        self._failed = threading.Event()
        self._submit(tracker.start, step=step)

    def log(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Pass numbers on; returns at once."""
        self._submit(self.tracker.log, scalars, step=step)

    def close(self, *, deadline: float) -> None:
        """End the tracker; wait for it until `deadline` on the monotonic clock."""
        closed = self._submit(self.tracker.close)
        closed.wait(max(0.0, deadline - time.monotonic()))
        if not closed.ready():
            log.warning("%s did not finish in time; metrics.jsonl has everything", self.tracker.name)

    def _submit(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        return self._pool.apply_async(self._unless_failed, (call, args, kwargs), error_callback=self._fail)

    def _unless_failed(self, call: Any, args: Any, kwargs: Any) -> None:
        if self._failed.is_set():
            return
        # Failed until it returns: the pool tells of an error only when it may have taken the next call.
        self._failed.set()
        call(*args, **kwargs)
        self._failed.clear()

    def _fail(self, error: BaseException) -> None:
        # Not its message, which may hold what a server or an environment variable said.
        log.warning(
            "%s failed (%s) and is left alone; the run goes on, and metrics.jsonl has everything",
            self.tracker.name,
            type(error).__name__,
        )


def trackers_of(settings: TrainSettings) -> list[Tracker]:
    """Return the trackers of a run, not started."""
    run_dir, chosen = settings.run_dir, settings.trackers
    trackers: list[Tracker] = [TensorBoard(run_dir)]
    if chosen.wandb is not None:
        trackers.append(Wandb(settings))
    if chosen.mlflow is not None:
        trackers.append(Mlflow(settings))
    return trackers


class TensorBoard:
    """Event files in `RUN/tensorboard`."""

    name = "TensorBoard"

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / "tensorboard"
        self._writer: Any = None

    def start(self, *, step: int) -> None:
        """Begin a file; points of later steps in older files are hidden."""
        from tensorboardX import SummaryWriter

        # Files are named by the second, and read in the order of their names.
        suffix = f".from-{step + 1:08d}"
        self._writer = SummaryWriter(str(self.folder), purge_step=step + 1, filename_suffix=suffix)

    def log(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Write points; on disk when this returns, for a run may be killed at any time."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases (`pip install 'asr-ray[wandb]'`)."""

    name = "Weights & Biases"

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self._run: Any = None

    def start(self, *, step: int) -> None:
        """Open the run of this folder, or go on with it; a step that comes again is drawn over."""
        import wandb

        chosen, run_dir = self.settings.trackers.wandb, self.settings.run_dir
        assert chosen is not None
        run_id = _remembered(run_dir, "wandb") or uuid.uuid4().hex[:8]
        _remember(run_dir, "wandb", run_id)
        self._run = wandb.init(
            project=chosen.project,
            entity=chosen.entity,
            name=chosen.name or run_dir.name,
            id=run_id,
            resume="allow",
            dir=str(run_dir),
            config=self.settings.model_dump(mode="json"),
            # Numbers and settings only: no console, no code, no command line, no list of packages.
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        # W&B's own counter only rises, and would drop what a resumed run says again.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Send points."""
        self._run.log({**scalars, "step": step})

    def close(self) -> None:
        """Wait until everything is sent, or stored where it is offline."""
        self._run.finish()


class Mlflow:
    """A run of MLflow (`pip install 'asr-ray[mlflow]'`)."""

    name = "MLflow"

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self._client: Any = None
        self._run_id = ""

    def start(self, *, step: int) -> None:
        """Open the run of this folder with its settings as parameters, or go on with it."""
        from mlflow import MlflowClient

        chosen, run_dir = self.settings.trackers.mlflow, self.settings.run_dir
        assert chosen is not None
        self._client = MlflowClient(tracking_uri=chosen.tracking_uri)
        known = _remembered(run_dir, "mlflow")
        if known is not None:
            self._run_id = known
            self._client.set_terminated(known, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(chosen.experiment)
        experiment_id = (
            experiment.experiment_id if experiment else self._client.create_experiment(chosen.experiment)
        )
        run = self._client.create_run(experiment_id, run_name=chosen.name or run_dir.name)
        self._run_id = run.info.run_id
        _remember(run_dir, "mlflow", self._run_id)
        for key, value in flat(self.settings).items():
            self._client.log_param(self._run_id, key, str(value)[:500])

    def log(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Send points in one request."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        points = [Metric(name, value, now_ms, step) for name, value in scalars.items()]
        self._client.log_batch(self._run_id, metrics=points)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run_id)


def _remembered(run_dir: Path, tracker: str) -> str | None:
    """The run's name at a tracker, so that a resumed run goes on there too."""
    path = run_dir / _RUNS
    found: str | None = json.loads(path.read_text(encoding="utf-8")).get(tracker) if path.exists() else None
    return found


_REMEMBERING = threading.Lock()


def _remember(run_dir: Path, tracker: str, run_id: str) -> None:
    path = run_dir / _RUNS
    with _REMEMBERING:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_whole(path, json.dumps(known | {tracker: run_id}) + "\n")
