"""What a number of steps will read and waste, worked out on metadata."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from asr_ray.data.batch_cost import lattice_cells
from asr_ray.data.mix import Key
from asr_ray.data.plan import Plan
from asr_ray.data.speed import Uses
from asr_ray.errors import ConfigError
from asr_ray.records import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """What the largest batch of a plan holds, limit by limit (not always the same batch)."""

    padded_s: float
    utterances: int
    lattice_cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What a number of steps will read and waste.

    Attributes:
        seconds: audio of each key as recorded, padding not counted.
        passes: how often each key is read (its seconds / what the catalog holds of it).
        audio_padding: 1 - audio / padded audio.
        lattice_padding: 1 - cells of the utterances / cells of the padded batches.
        step_efficiency: mean over steps of mean / largest predicted cost of the ranks.
    """

    steps: int
    seconds: Mapping[Key, float]
    passes: Mapping[Key, float]
    audio_padding: float
    lattice_padding: float
    step_efficiency: float
    largest_batch: BatchSize


def plan_summary(plan: Plan, *, steps: int, world_size: int) -> PlanSummary:
    """Walk through the first `steps` steps of `plan` on metadata and sum up."""
    if steps < 1:
        raise ConfigError(f"a summary needs at least one step, got {steps}", fix="plan more steps")
    batches = list(
        itertools.chain.from_iterable(
            step.uses for step in itertools.islice(plan.steps(Position(), world_size=world_size), steps)
        )
    )
    return _summary(plan, batches=batches, world_size=world_size)


def _summary(plan: Plan, *, batches: list[Uses], world_size: int) -> PlanSummary:
    catalog, uses = plan.catalog, Uses.joined(batches)
    rows = uses.rows
    utterances = np.array([len(batch) for batch in batches])
    starts = np.cumsum(utterances) - utterances
    durations_s, num_tokens = plan.durations_s(uses), catalog.num_tokens[rows].astype(np.int64)
    longest_s, most_tokens = np.maximum.reduceat(durations_s, starts), np.maximum.reduceat(num_tokens, starts)
    cells = lattice_cells(utterances=utterances, longest_s=longest_s, most_tokens=most_tokens)
    own_cells = lattice_cells(utterances=np.ones_like(rows), longest_s=durations_s, most_tokens=num_tokens)
    cost = plan.cost.batch_cost(utterances=utterances, longest_s=longest_s, most_tokens=most_tokens)
    by_step = cost.reshape(-1, world_size)
    recorded_s = catalog.durations_s[rows].astype(np.float64)
    seconds = np.bincount(catalog.key_of_row[rows], weights=recorded_s, minlength=len(catalog.keys))
    by_key = dict(zip(catalog.keys, seconds.tolist(), strict=True))
    return PlanSummary(
        steps=len(by_step),
        seconds=by_key,
        passes={key: total / catalog.seconds_by_key[key] for key, total in by_key.items()},
        audio_padding=1 - float(durations_s.sum() / (utterances * longest_s).sum()),
        lattice_padding=1 - float(own_cells.sum() / cells.sum()),
        step_efficiency=float((by_step.mean(axis=1) / by_step.max(axis=1)).mean()),
        largest_batch=BatchSize(
            padded_s=float((utterances * longest_s).max()),
            utterances=int(utterances.max()),
            lattice_cells=int(cells.max()),
        ),
    )
