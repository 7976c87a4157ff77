"""What a number of steps will read and waste, worked out on metadata."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from asr_ray.data.augment.speed import Uses
from asr_ray.data.batch_cost import lattice_cells
from asr_ray.data.mix import Key
from asr_ray.data.plan import Plan, PlannedStep
from asr_ray.errors import ConfigError
from asr_ray.records import Position

MANY_PASSES = 15.0
"""In mixtures, scarce data can be repeated 15 to 20 times before it stops helping (arXiv 2605.12715)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """What the largest batch of a plan holds, limit by limit (not always the same batch)."""

    padded_s: float
    utterances: int
    lattice_cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MixSpan:
    """The part of the plan in which one mix holds.

    Attributes:
        first_step: step that it begins with, from 0.
        shares: what it asks for.
        seconds: what is read of each key, as recorded.
    """

    first_step: int
    steps: int
    shares: Mapping[Key, float]
    seconds: Mapping[Key, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What a number of steps will read and waste.

    Attributes:
        seconds: audio of each key as recorded, padding not counted.
        passes: how often each key is read (its seconds / what the catalog holds of it).
        audio_padding: 1 - audio / padded audio.
        lattice_padding: 1 - cells of the utterances / cells of the padded batches.
        step_efficiency: mean over steps of mean / largest predicted cost of the ranks.
        step_cost: mean over steps of the largest predicted cost of the ranks: seconds, if a calibration
            gave the coefficients.
        mixes: one entry for each mix that holds for some step, in their order.
    """

    steps: int
    seconds: Mapping[Key, float]
    passes: Mapping[Key, float]
    audio_padding: float
    lattice_padding: float
    step_efficiency: float
    step_cost: float
    largest_batch: BatchSize
    mixes: tuple[MixSpan, ...]


def plan_summary(plan: Plan, *, steps: int, world_size: int) -> PlanSummary:
    """Walk through the first `steps` steps of `plan` on metadata and sum up."""
    if steps < 1:
        raise ConfigError(f"a summary needs at least one step, got {steps}", fix="plan more steps")
    walked = list(itertools.islice(plan.steps(Position(), world_size=world_size), steps))
    return _summary(plan, steps=walked, world_size=world_size)


def summary_tree(summary: PlanSummary) -> dict[str, Any]:
    """A summary as plain values; keys are written "locale/source"."""
    tree = {field.name: getattr(summary, field.name) for field in fields(summary)}
    spans = [
        {
            "first_step": span.first_step,
            "steps": span.steps,
            "shares": _by_name(span.shares),
            "seconds": _by_name(span.seconds),
        }
        for span in summary.mixes
    ]
    return tree | {
        "seconds": _by_name(summary.seconds),
        "passes": _by_name(summary.passes),
        "largest_batch": asdict(summary.largest_batch),
        "mixes": spans,
    }


def _by_name(numbers: Mapping[Key, float]) -> dict[str, float]:
    return {"/".join(key): number for key, number in numbers.items()}


def plan_warnings(plan: Plan, *, summary: PlanSummary) -> tuple[str, ...]:
    """What the author of a plan may not have wanted: much repetition, and what never gets its turn."""
    repeated = [
        f"{'/'.join(key)} is read {passes:.1f} times; gains fade out somewhere above {MANY_PASSES:g}, "
        "data.mix.max_passes sets a limit"
        for key, passes in summary.passes.items()
        if passes > MANY_PASSES
    ]
    asked = {key for span in summary.mixes for key, share in span.shares.items() if share > 0}
    unread = [
        f"{'/'.join(key)} is in the mix and never read in {summary.steps:,} steps"
        for key in sorted(asked)
        if not summary.seconds[key]
    ]
    left_out = [
        f"the mix of step {mix.from_step:,} never holds: no window begins between it and the next one or "
        "the end of the run; lower data.window_utterances"
        for mix in plan.schedule
        if mix.from_step < summary.steps and mix.shares not in [span.shares for span in summary.mixes]
    ]
    return (*repeated, *unread, *left_out)


def _summary(plan: Plan, *, steps: list[PlannedStep], world_size: int) -> PlanSummary:
    batches = list(itertools.chain.from_iterable(step.uses for step in steps))
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
    by_key = _seconds(plan, steps)
    return PlanSummary(
        steps=len(by_step),
        seconds=by_key,
        passes={key: total / catalog.seconds_by_key[key] for key, total in by_key.items()},
        audio_padding=1 - float(durations_s.sum() / (utterances * longest_s).sum()),
        lattice_padding=1 - float(own_cells.sum() / cells.sum()),
        step_efficiency=float((by_step.mean(axis=1) / by_step.max(axis=1)).mean()),
        step_cost=float(by_step.max(axis=1).mean()),
        largest_batch=BatchSize(
            padded_s=float((utterances * longest_s).max()),
            utterances=int(utterances.max()),
            lattice_cells=int(cells.max()),
        ),
        mixes=tuple(_mix_spans(plan, steps)),
    )


def _mix_spans(plan: Plan, steps: list[PlannedStep]) -> Iterator[MixSpan]:
    shares = {mix.name: mix.shares for mix in plan.schedule}
    first_step = 0
    for (_, name), group in itertools.groupby(steps, key=lambda step: step.position.mixes[-1]):
        part = list(group)
        seconds = _seconds(plan, part)
        yield MixSpan(first_step=first_step, steps=len(part), shares=shares[name], seconds=seconds)
        first_step += len(part)


def _seconds(plan: Plan, steps: list[PlannedStep]) -> dict[Key, float]:
    """Seconds of each key in some steps, as recorded."""
    catalog = plan.catalog
    rows = np.concatenate([batch.rows for step in steps for batch in step.uses])
    recorded_s = catalog.durations_s[rows].astype(np.float64)
    seconds = np.bincount(catalog.key_of_row[rows], weights=recorded_s, minlength=len(catalog.keys))
    return dict(zip(catalog.keys, seconds.tolist(), strict=True))
