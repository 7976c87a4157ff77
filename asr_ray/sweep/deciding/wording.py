"""Numbers of a sweep in words: for the decision, its log entry and its report. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.report.numbers import counted, listed, percent
from asr_ray.sweep.deciding.candidates import Candidate, Comparison

_MOST_NAMED = 4


def reason_of(
    *,
    winner: Candidate,
    leader: Candidate,
    tied: Sequence[Candidate],
    comparisons: Sequence[Comparison],
    infeasible: Sequence[Candidate],
    policy: GuardPolicy,
) -> str:
    """Return why a candidate won, in a few sentences."""
    parts = [_why(winner, leader, tied)] if winner.is_feasible else [_least_evil(winner)]
    parts.append(f"On the targets its error rates are {change(winner.objective)} the base on average.")
    if comparisons:
        parts.append(f"Against the baselines: {listed([_compared(each) for each in comparisons])}.")
    if infeasible and winner.is_feasible:
        names = [f"{each.name} ({', '.join(each.broken)})" for each in infeasible[:_MOST_NAMED]]
        more = f" and {len(infeasible) - _MOST_NAMED} more" if len(infeasible) > _MOST_NAMED else ""
        limit = 100 * policy.max_guard_loss
        parts.append(f"Left out, because a guard lost more than {limit:g} points: {', '.join(names)}{more}.")
    return " ".join(parts)


def signed(value: float, *, digits: int = 3) -> str:
    """Return a number with its sign, a real minus among them: -0.1234 -> "−0.123"."""
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def change(objective: float) -> str:
    """Return what a mean log ratio of error rates means: -0.223 -> "20.0% below"."""
    ratio = math.exp(objective) - 1
    return f"{percent(abs(ratio), digits=1)} {'below' if ratio < 0 else 'above'}"


def shown(value: Any) -> str:
    """Return a value of a trial as a table has it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else str(value)


def short_key(key: str) -> str:
    """Return a dotted key without the sections that tell nothing: "optim.peak_lr" -> "peak_lr"."""
    for prefix in ("data.mix.", "optim.", "data.", "model."):
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


def _why(winner: Candidate, leader: Candidate, tied: Sequence[Candidate]) -> str:
    if len(tied) == 1:
        return (
            f"{winner.name} has the best objective, {signed(winner.objective)}"
            f"{_interval(winner)}, and no other trial within the guards is tied with it."
        )
    others = counted(len(tied) - 1, "trial")
    cannot = "cannot be told from it (the 95% interval of the paired difference holds 0)"
    if winner.name == leader.name:
        return (
            f"{winner.name} has the best objective, {signed(winner.objective)}{_interval(winner)}. "
            f"{others.capitalize()} {cannot}; of all of these its mix is the nearest to the data."
        )
    return (
        f"{leader.name} has the best objective, {signed(leader.objective)}{_interval(leader)}, but {others} "
        f"{cannot}; of all of these {winner.name} ({signed(winner.objective)}) has the mix nearest to the "
        f"data: {percent(winner.distance, digits=1)} of the seconds differ, against "
        f"{percent(leader.distance, digits=1)}."
    )


def _least_evil(winner: Candidate) -> str:
    return (
        f"No trial keeps all guards within their limit. {winner.name} breaks it least: "
        f"{listed(list(winner.broken))}, {100 * winner.excess:.1f} points beyond. Give the guards more "
        "replay, or train less, before using it."
    )


def _interval(candidate: Candidate) -> str:
    return "" if candidate.ci95 is None else f" [{signed(candidate.ci95[0])}, {signed(candidate.ci95[1])}]"


def _compared(comparison: Comparison) -> str:
    ends = "" if comparison.ci95 is None else f" [{signed(comparison.ci95[0])}, {signed(comparison.ci95[1])}]"
    return f"{comparison.baseline} {signed(comparison.delta)}{ends} ({comparison.verdict})"
