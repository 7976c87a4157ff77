"""One Ray Train worker: builds the model on its device, runs the loop, hands over the best weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import ray.train
import torch

from asr_ray.data.feed import read_batches
from asr_ray.data.heldout import read_heldout
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import load_model, quiet_nemo
from asr_ray.records import Batch, Position
from asr_ray.security import check_environment
from asr_ray.settings import TrainSettings
from asr_ray.train.calibration.measure import describe_device
from asr_ray.train.calibration.use import warn_of_other_device
from asr_ray.train.finish import export_model
from asr_ray.train.group import Worker
from asr_ray.train.loop import Loop
from asr_ray.train.step import set_up_torch

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
    worker = Worker(
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        device=torch.device("cuda", context.get_local_rank())
        if settings.resources.use_gpu
        else torch.device("cpu"),
        batches=_batches,
        report=_report,
    )
    warn_of_other_device(settings.data.cost, device_name=describe_device(worker.device).name)
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
    if loop.run().step >= settings.max_steps:
        export_model(loop, path=settings.run_dir / "best.nemo")
    worker.barrier()


def _batches(position: Position) -> Iterator[Batch]:
    return read_batches(ray.train.get_dataset_shard(TRAIN_DATASET), start=position)


def _report(metrics: Mapping[str, float]) -> None:
    # Our own store keeps the checkpoints; this only feeds schedulers and shows that the run is alive.
    ray.train.report(dict(metrics))
