"""What a sweep will cost before it is run: trials, hours of audio, time, price. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from asr_ray.settings import TrainSettings
from asr_ray.settings.sweep import SweepSettings
from asr_ray.sweep.records import DONE, TrialRecord
from asr_ray.sweep.space import Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is expected of a sweep.

    Attributes:
        trials: part of the sweep -> number of runs; without early stopping, which only makes it less.
        audio_s: seconds of audio that one run trains on, at most: of padded batches that are full.
        step_s: seconds of one optimizer update; None where neither a calibration nor a trial says.
        done: runs that have ended already.
        at_once: trials at the same time.
        price_per_hour: of the machines of one trial; None where not configured.
    """

    trials: Mapping[str, int]
    audio_s: float
    steps: int
    step_s: float | None
    done: int
    at_once: int
    price_per_hour: float | None

    @property
    def runs(self) -> int:
        """All runs."""
        return sum(self.trials.values())

    @property
    def total_audio_s(self) -> float:
        """Seconds of audio of all runs."""
        return self.runs * self.audio_s

    @property
    def trial_hours(self) -> float | None:
        """Hours of training that are left, one trial after the other; validation not counted."""
        if self.step_s is None:
            return None
        return max(self.runs - self.done, 0) * self.steps * self.step_s / 3600

    @property
    def hours(self) -> float | None:
        """The same with `at_once` trials at a time."""
        if self.trial_hours is None or self.step_s is None:
            return None
        rounds = math.ceil(max(self.runs - self.done, 0) / self.at_once)
        return rounds * self.steps * self.step_s / 3600

    @property
    def price(self) -> float | None:
        """What is left to be paid."""
        if self.trial_hours is None or self.price_per_hour is None:
            return None
        return self.trial_hours * self.price_per_hour


def estimate(
    sweep: Sweep,
    *,
    settings: TrainSettings,
    at_once: int = 1,
    step_s: float | None = None,
    records: Mapping[str, TrialRecord] | None = None,
) -> Estimate:
    """Return what a sweep will cost.

    Args:
        settings: of one run, with numbers in place of a calibration.
        at_once: trials at the same time.
        step_s: seconds of an update by a calibration (`PlanSummary.step_cost` times `optim.accumulate`); trials
            that have ended know better.
        records: what has been run already.
    """
    ended = [each for each in (records or {}).values() if each.status in DONE]
    measured = [each.elapsed_s / each.rungs[-1].step for each in ended if each.rungs and each.elapsed_s > 0]
    optim = settings.optim
    return Estimate(
        trials=number_of_trials(sweep),
        audio_s=settings.max_steps
        * optim.accumulate
        * settings.resources.num_workers
        * settings.data.max_padded_s,
        steps=settings.max_steps,
        step_s=math.fsum(measured) / len(measured) if measured else step_s,
        done=len(ended),
        at_once=max(at_once, 1),
        price_per_hour=sweep.settings.trial_price_per_hour,
    )


def number_of_trials(sweep: Sweep) -> dict[str, int]:
    """Return part of the sweep -> number of runs."""
    settings = sweep.settings
    simplex = sweep.simplex
    # Hours decide what the baselines are, not how many there are, unless two of them are the same mix.
    known = sweep if sweep.hours or simplex is None else sweep.with_hours(_any_hours(simplex.locales))
    baselines = len(known.baselines()) if settings.baselines else 0
    found = {"baselines": baselines}
    match settings.search:
        case "grid":
            found["grid"] = len(sweep.grid())
        case "pbt":
            found["population"] = settings.pbt.population
        case "proxy":
            found |= {"proxies": 2 * len(simplex.groups) + 1 if simplex else 0, "check": 1}
        case _:
            found[settings.search] = settings.num_trials
    return found | ({"further seeds": _further_seeds(settings, baselines)} if settings.finalists else {})


def _further_seeds(settings: SweepSettings, baselines: int) -> int:
    finalists = settings.finalists
    if finalists is None:
        return 0
    compared = finalists.count + (baselines if finalists.baselines else 0)
    return (finalists.seeds - 1) * compared


def _any_hours(locales: tuple[str, ...]) -> dict[str, float]:
    return {locale: float(number) for number, locale in enumerate(locales, start=1)}
