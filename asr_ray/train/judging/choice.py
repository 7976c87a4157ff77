"""Which checkpoints of a run are the best ones, and whether it is over; pure functions of its validations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr_ray.evaluate.objective import GuardPolicy, Judgement, judge
from asr_ray.settings import TrainSettings
from asr_ray.train.checkpoint import RunState

_RECOVERING = 0.5


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


def is_over(state: RunState, *, settings: TrainSettings) -> bool:
    """Whether a run has taken all its steps, or ended before because of its guards.

    Decided from the validations in the checkpoint: a run that was ended stays so when it is taken up again,
    and goes on where the configuration has become more patient.
    """
    return state.step >= settings.max_steps or stop_reason(state.validations, settings=settings) is not None


def stop_reason(validations: Sequence[Mapping[str, Any]], *, settings: TrainSettings) -> str | None:
    """Return why a run is to end now: guards stayed beyond their limit. None while it may go on.

    At the peak of the learning rate guards may be beyond it that come back later: a run goes on as long as
    the worst loss beyond the limit is less than half of what it was in the validations that count.
    """
    patience = settings.validation.stop_when_broken
    if patience is None or len(validations) <= patience:
        return None
    judged = judgements(validations, settings=settings)
    last = [judged[entry["step"]] for entry in validations[-patience:]]
    recovering = last[-1].excess < _RECOVERING * max(each.excess for each in last)
    if recovering or not all(each.broken for each in last):
        return None
    base, newest = validations[0], validations[-1]
    rates = [
        f"{tag} {newest['locales'][tag]['rate']:.1%} (base {base['locales'][tag]['rate']:.1%})"
        for tag in judged[newest["step"]].broken
    ]
    points = settings.validation.max_guard_loss * 100
    times = "the last validation" if patience == 1 else f"each of the last {patience} validations"
    return f"guards lost more than {points:g} points in {times}: at step {newest['step']} {', '.join(rates)}"
