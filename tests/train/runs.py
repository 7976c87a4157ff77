"""What a run left behind, to be compared with what it should have."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from asr_ray.data.catalog import Catalog
from asr_ray.data.plan import Plan
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


def due(settings: TrainSettings, *, world_sizes: Sequence[int]) -> Books:
    """What the plan says, for so many ranks in each step: where their number changes, a run is resumed."""
    plan = planned_data(settings).plan
    catalog = Catalog.read(settings.data.train / "catalog.parquet", ids=True)
    position, before, books = Position(), world_sizes[0], Books()
    numbered = enumerate(world_sizes, start=1)
    for world_size, group in itertools.groupby(numbered, key=lambda each: each[1]):
        position = Plan.resume(position, old_world_size=before, new_world_size=world_size)
        before = world_size
        numbers = [number for number, _ in group]
        steps = plan.steps(position, world_size=world_size, steps_taken=numbers[0] - 1)
        for number, step in zip(numbers, steps, strict=False):
            books |= {(number, rank): catalog.ids(rows) for rank, rows in enumerate(step.batches)}
            position = step.after
    return books


def world_sizes(books: Books) -> list[int]:
    """Number of ranks of each step of a ledger, from the first on."""
    ranks = Counter(step for step, _ in books)
    return [ranks[step] for step in sorted(ranks)]


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
