"""One Ray Train worker: builds the model on its device, runs the loop, hands over the best weights."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from asr_ray.data.feed import RankFeed
from asr_ray.data.heldout import read_heldout
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import load_model, quiet_nemo
from asr_ray.security import check_environment
from asr_ray.settings import TrainSettings
from asr_ray.train.calibration.measure import describe_device
from asr_ray.train.calibration.use import warn_of_other_device
from asr_ray.train.group import Worker
from asr_ray.train.handover.finish import export_model
from asr_ray.train.judging.choice import is_over
from asr_ray.train.loop import Loop
from asr_ray.train.step import set_up_torch
from asr_ray.train.survival.lock import only_workers
from asr_ray.train.survival.pulse import Pulse
from asr_ray.train.survival.stopping import forget_earlier_workers, request_stop_of_worker

TRAIN_DATASET = "train"
"""Name under which Ray Train hands the feed to the workers."""


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What the driver sends to every worker: plain values only, the model is built where it runs.

    Attributes:
        plan_digest: what a checkpoint must have been made with.
        mixes: name -> shares of the mixes that the run may read by.
        until_step: update to pause after; None goes on to `max_steps`.
    """

    settings: TrainSettings
    plan_digest: str
    mixes: Mapping[str, Mapping[str, float]]
    until_step: int | None = None


def train_worker(task: WorkerTask) -> None:
    """Train on this worker until the run ends; rank 0 leaves `best.nemo`."""
    logging.getLogger("asr_ray").setLevel(logging.INFO)
    check_environment(os.environ)
    settings, context = task.settings, ray.train.get_context()
    set_up_torch(settings.resources)
    pulse = Pulse(
        settings.run_dir,
        rank=context.get_world_rank(),
        node=ray.get_runtime_context().get_node_id(),
        timeout_s=settings.resources.hang_timeout_s,
    )
    feed = RankFeed(ray.train.get_dataset_shard(TRAIN_DATASET))
    worker = Worker(
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        device=ray.train.torch.get_device() if settings.resources.use_gpu else torch.device("cpu"),
        batches=feed.batches,
        report=_report,
        mark=pulse.mark,
        leaving=_leaving,
    )
    with pulse, only_workers(settings.run_dir, rank=worker.rank, barrier=worker.barrier):
        if worker.rank == 0:
            forget_earlier_workers(settings.run_dir)
        _train(task, worker=worker)


def _train(task: WorkerTask, *, worker: Worker) -> None:
    settings = task.settings
    warn_of_other_device(settings.data.cost, device_name=describe_device(worker.device).name)
    worker.mark("loading the model")
    with quiet_nemo():
        model = load_model(
            resolve_base(settings.model.base), device=worker.device, expected_sha256=settings.model.sha256
        )
    validation = read_heldout(
        settings.data.validation,
        locales=[*settings.validation.targets, *settings.validation.guards],
        utterances_per_locale=settings.validation.utterances_per_locale,
    )
    loop = Loop(
        settings,
        model=model,
        worker=worker,
        validation=validation,
        plan_digest=task.plan_digest,
        mixes=task.mixes,
        until_step=task.until_step,
    )
    if is_over(loop.run(), settings=settings):
        worker.mark("exporting the model")
        export_model(loop, path=settings.run_dir / "best.nemo")
    worker.barrier()
    loop.metrics.close()


def _report(metrics: Mapping[str, float]) -> None:
    # Our own store keeps the checkpoints; this only feeds schedulers and shows that the run is alive.
    ray.train.report(dict(metrics))


def _leaving() -> bool:
    # A barrier, as Ray asks for: the loop has all ranks ask at the same step.
    return ray.train.get_preemption_info() is not None


class HearSigterm(WorkerGroupCallback):
    """Ray's hook at each start of a worker group; has a SIGTERM to a worker answered by a checkpoint.

    By default a worker that gets one dies. The training thread cannot set a handler, the main one can.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Called by Ray Train when the workers are there and before they train."""
        worker_group.execute(stop_on_sigterm, self.run_dir)


def stop_on_sigterm(run_dir: Path) -> None:
    """Have all workers commit a checkpoint and end when this process gets a SIGTERM."""

    def ask(number: int, frame: FrameType | None) -> None:
        request_stop_of_worker(run_dir, where=f"process {os.getpid()} on {socket.gethostname()}")

    signal.signal(signal.SIGTERM, ask)
