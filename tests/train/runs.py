"""What a run left behind, to be compared with what it should have."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import torch

from asr_ray.config import load
from asr_ray.data.catalog import Catalog
from asr_ray.records import Position
from asr_ray.settings import TrainSettings
from asr_ray.train import ledger
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.setup import planned_data

Books = dict[tuple[int, int], list[str]]
"""(step, rank) -> ids of the utterances, in order."""


def booked(run_dir: Path) -> Books:
    """What the ledger says."""
    found: Books = {}
    for row in ledger.read(run_dir).to_pylist():
        found.setdefault((row["step"], row["rank"]), []).append(row["id"])
    return found


def due(config: Path | TrainSettings, *, steps: int, world_size: int) -> Books:
    """What the plan says."""
    settings = config if isinstance(config, TrainSettings) else load(config, schema=TrainSettings).settings
    plan = planned_data(settings).plan
    catalog = Catalog.read(settings.data.train / "catalog.parquet", ids=True)
    return {
        (number, rank): catalog.ids(rows)
        for number, step in enumerate(
            itertools.islice(plan.steps(Position(), world_size=world_size), steps), start=1
        )
        for rank, rows in enumerate(step.batches)
    }


def weights_hash(run_dir: Path, *, step: int) -> str:
    """sha256 of names and values of all weights in the checkpoint of a step, which has to be the newest."""
    found = CheckpointStore(run_dir).newest()
    assert found is not None
    assert found[1].step == step
    weights = torch.load(found[0] / "model.pt", weights_only=True)
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
