"""The proxy design: 2k+1 runs on the simplex of k groups, a fit per locale, the best mix by it.

    centre          all groups have the same
    more-GROUP      half-way from the centre to the corner of a group
    less-GROUP      most of the way from the centre to the face opposite to it

These are the axial check blends of a mixture experiment (Cornell, Experiments with Mixtures, 2002, ch. 2), on
both sides of the centre: each group is seen at four shares or more, from a quarter of its even share to
beyond half of everything, and what is never looked at is what nobody would train, a mix without a group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from asr_ray.evaluate.objective import RATE_FLOOR, GuardPolicy
from asr_ray.sweep.deciding.response import LocaleFit
from asr_ray.sweep.ranges import Simplex

Floats = npt.NDArray[np.float64]

CENTRE = "centre"

GUARD_CONFIDENCE = 0.8
"""How likely every guard has to hold in a run of a proposed mix."""

_LESS = 0.25
_CANDIDATES = 4096
_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The mix that a fit predicts to be best.

    Attributes:
        shares: group -> share of seconds.
        objective: expected; `sd` is how uncertain, without the noise of a single run.
        rates: locale -> expected error rate.
        guard_probability: that all guards hold in a run of it; 1 without guards.
        is_safe: whether that is as likely as asked for; if no mix is, this one is the likeliest.
    """

    shares: Mapping[str, float]
    objective: float
    sd: float
    rates: Mapping[str, float]
    guard_probability: float
    is_safe: bool


def design(simplex: Simplex) -> dict[str, dict[str, float]]:
    """Return the shares of 2k+1 runs, by name."""
    names = list(simplex.groups)
    even = 1 / len(names)
    points = {CENTRE: dict.fromkeys(names, even)}
    for kind, own in (("more", (1 + even) / 2), ("less", even * _LESS)):
        for name in names:
            rest = (1 - own) / (len(names) - 1)
            points[f"{kind}-{name}"] = {**dict.fromkeys(names, rest), name: own}
    return {name: simplex.shares_at(list(parts.values())) for name, parts in points.items()}


def propose(
    fits: Mapping[str, LocaleFit],
    *,
    simplex: Simplex,
    parts: Mapping[str, float],
    total_s: float,
    base: Mapping[str, float],
    policy: GuardPolicy,
    runs: Sequence[Mapping[str, float]],
    seed: int,
) -> Proposal:
    """Find the mix of the best expected objective among those whose guards hold with `GUARD_CONFIDENCE`.

    Searched where runs have been: each group keeps within the shares that it had in some run.

    Args:
        fits: of every target and guard.
        parts: locale -> its part of the share of its group.
        total_s: seconds of audio in the weights of a run.
        base: locale -> error rate of the untuned model.
        runs: group -> share, of the runs that were fitted.
    """
    rng = np.random.default_rng(seed)
    names = list(simplex.groups)
    low, high = (np.array([ends(run[name] for run in runs) for name in names]) for ends in (min, max))
    candidates = np.vstack([[[run[name] for name in names] for run in runs], _drawn(simplex, rng=rng)])
    context = _Context(fits=fits, names=names, parts=parts, total_s=total_s, base=base, policy=policy)
    best = candidates[0]
    for number in range(_ROUNDS):
        inside = ((candidates >= low - 1e-9) & (candidates <= high + 1e-9)).all(axis=1)
        candidates = candidates[inside]
        best = candidates[context.best(candidates)]
        width = 0.15 / 3**number
        near = np.maximum(best + rng.normal(0, width, (_CANDIDATES, len(names))), simplex.min_share)
        candidates = np.vstack([best, near / near.sum(axis=1, keepdims=True)])
    return context.proposal(best)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """Everything but the mix; candidates are float64 [N, groups]."""

    fits: Mapping[str, LocaleFit]
    names: Sequence[str]
    parts: Mapping[str, float]
    total_s: float
    base: Mapping[str, float]
    policy: GuardPolicy

    def best(self, candidates: Floats) -> int:
        objective, _ = self.objective(candidates)
        probability = self.guard_probability(candidates)
        safe = probability >= GUARD_CONFIDENCE
        if not safe.any():
            return int(np.argmax(probability))
        return int(np.argmin(np.where(safe, objective, np.inf)))

    def objective(self, candidates: Floats) -> tuple[Floats, Floats]:
        predicted = [self._predict(locale, candidates) for locale in self.policy.targets]
        floors = [math.log(max(self.base[locale], RATE_FLOOR)) for locale in self.policy.targets]
        mean = np.sum([mean - floor for (mean, _), floor in zip(predicted, floors, strict=True)], axis=0)
        variance = np.sum([sd**2 for _, sd in predicted], axis=0)
        return mean / len(floors), np.sqrt(variance) / len(floors)

    def guard_probability(self, candidates: Floats) -> Floats:
        found = np.ones(len(candidates))
        for locale in self.policy.guards:
            mean, sd = self._predict(locale, candidates)
            # A run is judged by what it measures, noise included.
            spread = np.hypot(sd, self.fits[locale].noise)
            limit = math.log(self.base[locale] + self.policy.max_guard_loss)
            found *= ndtr((limit - mean) / spread)
        return found

    def proposal(self, best: Floats) -> Proposal:
        row = best[None, :]
        objective, sd = self.objective(row)
        probability = float(self.guard_probability(row)[0])
        locales = (*self.policy.targets, *self.policy.guards)
        return Proposal(
            shares=dict(zip(self.names, best.tolist(), strict=True)),
            objective=float(objective[0]),
            sd=float(sd[0]),
            rates={locale: math.exp(float(self._predict(locale, row)[0][0])) for locale in locales},
            guard_probability=probability,
            is_safe=probability >= GUARD_CONFIDENCE,
        )

    def _predict(self, locale: str, candidates: Floats) -> tuple[Floats, Floats]:
        fit = self.fits[locale]
        shares = {name: candidates[:, index] for index, name in enumerate(self.names)}
        predicted = fit.predict(seconds=shares[fit.group] * self.parts[locale] * self.total_s, shares=shares)
        return predicted.mean, predicted.sd


def _drawn(simplex: Simplex, *, rng: np.random.Generator) -> Floats:
    groups = len(simplex.groups)
    parts = rng.dirichlet(np.ones(groups), _CANDIDATES)
    return simplex.min_share + (1 - simplex.min_share * groups) * parts
