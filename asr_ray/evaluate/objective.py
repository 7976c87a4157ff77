"""One number for "better": gains on the targets, under a limit on what the guards may lose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

RATE_FLOOR = 0.005
"""Rates of zero are common on small validation sets; a floor keeps the logarithm finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """Which locales must get better and which must not get worse.

    Attributes:
        max_guard_loss: largest allowed absolute rise of a guard's error rate (0.05 is five points).
    """

    targets: tuple[str, ...]
    guards: tuple[str, ...] = ()
    max_guard_loss: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a set of error rates is worth.

    Attributes:
        objective: mean over targets of log(rate / base rate); lower is better, 0 is the base.
        excess: by how much the worst guard is beyond its limit; 0.0 when all hold.
        broken: guards beyond their limit.
    """

    objective: float
    excess: float
    broken: tuple[str, ...]

    @property
    def order(self) -> tuple[float, float]:
        """Sort key: any result within the limits before any beyond them, then by objective."""
        return self.excess, self.objective


def judge(rates: Mapping[str, float], *, base: Mapping[str, float], policy: GuardPolicy) -> Judgement:
    """Compare error rates with those of the base model.

    Args:
        rates: locale -> error rate as a fraction; must hold every target and guard.
        base: the same for the untuned model.
    """
    gains = [math.log(max(rates[tag], RATE_FLOOR) / max(base[tag], RATE_FLOOR)) for tag in policy.targets]
    losses = {tag: rates[tag] - base[tag] - policy.max_guard_loss for tag in policy.guards}
    broken = tuple(tag for tag, excess in losses.items() if excess > 0.0)
    return Judgement(objective=sum(gains) / len(gains), excess=max([0.0, *losses.values()]), broken=broken)
