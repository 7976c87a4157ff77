"""What a sweep will run and what it will cost, before anything is started. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_ray.settings import TrainSettings
from asr_ray.sweep.deciding.proxy import design
from asr_ray.sweep.searching.population import check_population, generation, num_generations
from asr_ray.sweep.searching.search import propose
from asr_ray.sweep.space import RATIOS, Sweep, Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One trial to come.

    Attributes:
        values: None where they follow from the trials before it.
        steps: optimizer updates, at most: halving may end a trial earlier.
    """

    name: str
    stage: str
    values: Values | None
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """All trials of a sweep, and their sum.

    Attributes:
        audio_hours: largest amount that is read, batches full to the brim.
        trial_hours: hours of training by the calibration of the device, added up over the trials;
            validation, start and export come on top. None without a calibration.
        price: of these hours; None without a price.
    """

    trials: tuple[Expected, ...]
    audio_hours: float
    trial_hours: float | None
    price: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def forecast(sweep: Sweep, *, step_s: float | None = None) -> Forecast:
    """Return what a sweep will run.

    Args:
        sweep: with the hours of its data, where groups of several locales are searched.
        step_s: seconds of a step of the plan, as a calibration predicts them.

    Raises:
        ConfigError: as `Sweep.baselines`; a population that cannot be.
    """
    settings = sweep.settings_of(sweep.configured, run_dir=sweep.settings.out)
    trials = tuple(_trials(sweep, max_steps=settings.max_steps))
    steps = sum(each.steps for each in trials)
    hours = None if step_s is None else steps * settings.optim.accumulate * step_s / 3600
    price = sweep.settings.trial_price_per_hour
    return Forecast(
        trials=trials,
        audio_hours=steps * audio_s_per_step(settings) / 3600,
        trial_hours=hours,
        price=None if hours is None or price is None else hours * price,
    )


def audio_s_per_step(settings: TrainSettings) -> float:
    """Seconds of padded audio of an update, over all ranks."""
    per_batch_s = settings.optim.global_batch_s
    if per_batch_s is not None:
        return per_batch_s
    batches = settings.optim.accumulate * settings.resources.max_workers
    return batches * settings.data.max_padded_s


def _trials(sweep: Sweep, *, max_steps: int) -> Iterator[Expected]:
    baselines = sweep.baselines() if sweep.settings.baselines else {}
    for name, values in baselines.items():
        yield Expected(name=f"baseline-{name}", stage="baseline", values=values, steps=max_steps)
    yield from _searched(sweep, max_steps=max_steps)
    wanted = sweep.settings.finalists
    if wanted is None:
        return
    repeated = [f"finalist {place}" for place in range(1, wanted.count + 1)]
    repeated += [f"baseline-{name}" for name in baselines] if wanted.baselines else []
    for extra in range(2, wanted.seeds + 1):
        for name in repeated:
            yield Expected(name=f"{name}, seed {extra}", stage="seed", values=None, steps=max_steps)


def _searched(sweep: Sweep, *, max_steps: int) -> Iterator[Expected]:
    match sweep.settings.search:
        case "grid":
            for number, values in enumerate(sweep.grid()):
                yield Expected(name=f"search-{number:03d}", stage="search", values=values, steps=max_steps)
        case "proxy":
            points = design(sweep.simplex) if sweep.simplex else {}
            for name, shares in points.items():
                yield Expected(name=f"proxy-{name}", stage="proxy", values={RATIOS: shares}, steps=max_steps)
            yield Expected(name="check-predicted", stage="check", values=None, steps=max_steps)
        case "pbt":
            yield from _population(sweep)
        case search:
            for number in range(sweep.settings.num_trials):
                drawn = propose(sweep, {}, number=number) if search == "random" else None
                yield Expected(name=f"search-{number:03d}", stage="search", values=drawn, steps=max_steps)


def _population(sweep: Sweep) -> Iterator[Expected]:
    check_population(sweep)
    settings = sweep.settings_of(sweep.configured, run_dir=Path("sweep"))
    for number in range(num_generations(sweep)):
        first = [member.values for member in generation(sweep, {}, number=0)] if number == 0 else None
        segment = sweep.settings.pbt.segment_steps or settings.validation.every_steps
        steps = min(segment, settings.max_steps - number * segment)
        for place in range(sweep.settings.pbt.population):
            values = first[place] if first else None
            yield Expected(name=f"pbt-{number:02d}-{place:02d}", stage="search", values=values, steps=steps)


def lines(found: Forecast, *, keys: Sequence[str]) -> Iterator[str]:
    """Yield the trials as lines of a table, and their cost.

    Args:
        keys: that are searched.
    """
    width = max(len(each.name) for each in found.trials)
    for each in found.trials:
        told = "as the trials before it say" if each.values is None else _told(each.values, keys=keys)
        yield f"{each.name:<{width}}  {each.steps:>7,} steps  {told}"
    yield f"{len(found.trials)} trials, at most {found.audio_hours:,.1f} h of audio"
    if found.trial_hours is None:
        yield "time: unknown without data.calibration (see jobs/calibrate.py)"
    else:
        price = (
            "" if found.price is None else f", {found.price:,.2f} at the price of sweep.trial_price_per_hour"
        )
        yield f"{found.trial_hours:,.1f} h of training, beside validation and starting{price}"


def _told(values: Values, *, keys: Sequence[str]) -> str:
    shown = {key: value for key, value in values.items() if key in keys or value is not None}
    return ", ".join(f"{key} {_plain(value)}" for key, value in shown.items())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(part)}" for name, part in value.items()) + "}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
