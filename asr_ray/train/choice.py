"""Which checkpoints of a run are the best ones; a pure function of its validations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr_ray.evaluate.objective import GuardPolicy, Judgement, judge
from asr_ray.settings import TrainSettings


def judgements(validations: Sequence[Mapping[str, Any]], *, settings: TrainSettings) -> dict[int, Judgement]:
    """Return what each validated step is worth, by step.

    The untuned base, the first of the validations, sets the yardstick and is not among them.
    """
    policy = GuardPolicy(
        targets=tuple(settings.validation.targets),
        guards=tuple(settings.validation.guards),
        max_guard_loss=settings.validation.max_guard_loss,
    )
    if not validations:
        return {}
    base, *later = ({tag: s["rate"] for tag, s in entry["locales"].items()} for entry in validations)
    steps = [entry["step"] for entry in validations[1:]]
    return {step: judge(rates, base=base, policy=policy) for rates, step in zip(later, steps, strict=True)}


def best_steps(validations: Sequence[Mapping[str, Any]], *, settings: TrainSettings) -> list[int]:
    """Return the best steps for the targets, the best first, those that break a guard last.

    As many as `checkpoint.average` asks for. A step that is not among them never will be: further
    validations only push it down, so its checkpoint may go.
    """
    judged = judgements(validations, settings=settings)
    # Sorting is stable: of equals the earlier one.
    return sorted(judged, key=lambda step: judged[step].order)[: settings.checkpoint.average]
