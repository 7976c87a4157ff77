"""Mixes as shares of seconds: what a configuration plans, how far it is from the data. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from asr_ray.data.mix import Key
from asr_ray.data.planned import mix_schedule
from asr_ray.metrics import by_locale
from asr_ray.settings import TrainSettings

Shares = Mapping[str, float]
"""Name -> share, of sum 1; names are locales or "locale/source"."""


def planned_mix(settings: TrainSettings, seconds_by_key: Mapping[Key, float]) -> dict[str, float]:
    """Return "locale/source" -> share of seconds over the whole run, as the mix and its schedule plan it.

    Args:
        settings: with numbers in place of a calibration, see `train.setup.resolved`.
        seconds_by_key: seconds of training audio, as `Catalog.seconds_by_key`.

    Raises:
        ConfigError: a mix that this data cannot give.
    """
    steps = settings.max_steps * settings.optim.accumulate
    budget_s = steps * settings.resources.max_workers * settings.data.max_padded_s
    schedule = mix_schedule(
        settings.data.mix,
        seconds_by_key,
        num_steps=steps,
        budget_s=budget_s,
        accumulate=settings.optim.accumulate,
    )
    ends = [*(first for first, _ in schedule[1:]), steps]
    total = dict.fromkeys(("/".join(key) for key in seconds_by_key), 0.0)
    for (first, mix), end in zip(schedule, ends, strict=True):
        for key, share in mix.shares.items():
            total["/".join(key)] += share * (end - first) / steps
    return total


def hours_by_locale(seconds_by_key: Mapping[Key, float]) -> dict[str, float]:
    """Return locale -> hours."""
    seconds = by_locale({"/".join(key): seconds for key, seconds in seconds_by_key.items()})
    return {locale: total_s / 3600 for locale, total_s in seconds.items()}


def shares_of(amounts: Mapping[str, float]) -> dict[str, float]:
    """Scale amounts to the sum 1; all zero where there is nothing."""
    total = math.fsum(amounts.values())
    return {name: amount / total if total > 0 else 0.0 for name, amount in amounts.items()}


def total_variation(first: Shares, second: Shares) -> float:
    """Return half the sum of absolute differences: the share of seconds that would have to change names."""
    names = {**first, **second}
    return math.fsum(abs(first.get(name, 0.0) - second.get(name, 0.0)) for name in names) / 2
