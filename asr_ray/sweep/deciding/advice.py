"""What would help each target next: more hours of it, or a larger share of the mix. Pure.

A larger share is read off the fit of `response`, at the winner's mix; the others give way in proportion.

More hours are not in the fit, since all trials have the same ones. What they are worth follows from how
often they are repeated: D seconds read from U seconds that exist teach as much as

    E = U + U R (1 - exp(-(D / U - 1) / R))        seconds read once, for D > U; E = D else

with R = 15.4 (Muennighoff et al., Scaling Data-Constrained Language Models, arXiv 2305.16264). That was
fitted on text; for speech R is taken to be known to a factor of 1.6, and the interval says so. A slope b of
log error over log D is then b / (dlog E / dlog D) over log E, and E is what more hours move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr_ray.evaluate.scoring.bootstrap import Interval, interval95
from asr_ray.sweep.deciding.response import LocaleFit

Floats = npt.NDArray[np.float64]

MORE_HOURS, MORE_SHARE = 2.0, 1.5
"""What the advice is about: twice the hours, half as much share again."""

_REPEATS, _REPEATS_SPREAD = 15.4, 0.5
_MOST_SHARE = 0.95
_STEEPEST = 1.0
"""Of log error over log effective seconds: no law of speech that is known falls faster than data grows."""
_DRAWS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Expected relative change of an error rate, negative is better; `ci95` is how uncertain."""

    change: float
    ci95: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0 on the good side."""
        return self.ci95[1] < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is known of one target under the winning mix.

    Attributes:
        hours: that exist; `passes` is how often a run reads them.
        share: of the seconds of a run; `wider_share` is the one that is asked about.
        more_hours: of `MORE_HOURS` times the hours at the same share; `more_share` of the wider share.
        is_guess: the winner's share, or the wider one, lies beyond all trials.
    """

    locale: str
    hours: float
    passes: float
    share: float
    wider_share: float
    more_hours: Gain
    more_share: Gain
    is_guess: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Fitted error rate at a share; `low` to `high` is its 95% interval, without the noise of one run."""

    share: float
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MixPoint:
    """Where a fit is asked: the mix of the winner.

    Attributes:
        shares: group -> share of seconds.
        seconds: locale -> seconds of audio in the weights of a run.
        keys: other searched key -> where its value lies in its range.
    """

    shares: Mapping[str, float]
    seconds: Mapping[str, float]
    keys: Mapping[str, float]


def advise(
    fits: Mapping[str, LocaleFit],
    *,
    point: MixPoint,
    hours: Mapping[str, float],
    seed: int,
    more_hours: float = MORE_HOURS,
    more_share: float = MORE_SHARE,
) -> tuple[Advice, ...]:
    """Return advice for each fitted locale, the one that more hours help most first.

    Args:
        hours: locale -> hours that exist.
    """
    found = []
    for locale, fit in sorted(fits.items()):
        available_s, seconds = hours[locale] * 3600, point.seconds[locale]
        share = point.shares[fit.group]
        # Never less than it has: most of the seconds may be its own already.
        wider = max(share, min(share * more_share, _MOST_SHARE))
        draws = fit.draws(_DRAWS, seed=seed)
        here, there = (_features(fit, point, share=each) for each in (share, wider))
        z = float(here[0, 1])
        slopes = draws[:, 1] + 2 * z * draws[:, 2]
        longer = _gain_of_hours(
            slopes, seconds=seconds, available_s=available_s, factor=more_hours, seed=seed
        )
        found.append(
            Advice(
                locale=locale,
                hours=hours[locale],
                passes=seconds / available_s,
                share=share,
                wider_share=wider,
                more_hours=_gain(longer),
                more_share=_gain(draws @ (there - here)[0]),
                is_guess=not fit.z_range[0] <= z <= float(there[0, 1]) <= fit.z_range[1] + 1e-6,
            )
        )
    return tuple(sorted(found, key=lambda each: each.more_hours.change))


def effective_s(read_s: float, available_s: float, *, repeats: Floats) -> Floats:
    """Return what `read_s` seconds teach, as seconds read once; see the module's docstring.

    Args:
        repeats: R, of any shape.
    """
    again = max(read_s / available_s - 1, 0.0)
    found: Floats = min(read_s, available_s) + available_s * repeats * -np.expm1(-again / repeats)
    return found


def share_curve(fit: LocaleFit, *, point: MixPoint, shares: Sequence[float]) -> tuple[CurvePoint, ...]:
    """Return the fitted error rate over the share of the locale's group; the others give way evenly."""
    found = []
    for share in shares:
        row = _features(fit, point, share=share)
        mean = float((row @ fit.mean)[0])
        sd = float(np.sqrt(max(0.0, (row @ fit.covariance @ row.T)[0, 0])))
        low, rate, high = (float(np.exp(mean + step * sd)) for step in (-1.96, 0.0, 1.96))
        found.append(CurvePoint(share=share, rate=rate, low=low, high=high))
    return tuple(found)


def _features(fit: LocaleFit, point: MixPoint, *, share: float) -> Floats:
    """Return [1, P] at another share of the locale's group."""
    now = point.shares[fit.group]
    others = (1 - share) / (1 - now) if now < 1 else 1.0
    shares = {
        name: np.array([share if name == fit.group else value * others])
        for name, value in point.shares.items()
    }
    seconds = np.array([point.seconds[fit.locale] * share / now])
    return fit.features(seconds=seconds, shares=shares, keys=point.keys)


def _gain_of_hours(slopes: Floats, *, seconds: float, available_s: float, factor: float, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    repeats = _REPEATS * np.exp(rng.normal(0.0, _REPEATS_SPREAD, len(slopes)))
    before = effective_s(seconds, available_s, repeats=repeats)
    after = effective_s(seconds, available_s * factor, repeats=repeats)
    again = max(seconds / available_s - 1, 0.0)
    # dlog E / dlog D, 1 while nothing is repeated.
    elasticity = np.exp(-again / repeats) * seconds / before
    steepness = np.clip(slopes / np.maximum(elasticity, 1e-6), -_STEEPEST, _STEEPEST)
    found: Floats = steepness * np.log(after / before)
    return found


def _gain(logs: Floats) -> Gain:
    low, high = interval95(np.expm1(logs))
    return Gain(change=float(np.expm1(np.median(logs))), ci95=(low, high))
