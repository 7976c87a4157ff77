"""What is searched for and how it is decided: the section `sweep` of jobs/sweep.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.config import Settings
from asr_ray.settings.train import TrainSettings

Search = Literal["grid", "random", "optuna", "pbt", "proxy"]


class AshaSettings(Settings):
    """Asynchronous successive halving (arXiv 1810.05934) on seconds of audio consumed."""

    first_rung_s: PositiveFloat = 3600.0
    """Seconds of audio in the weights at the first validation that may end a trial."""
    reduction_factor: Annotated[float, Field(gt=1.0)] = 3.0
    """Of each rung, one trial in so many goes on; the next rung lies so many times further."""

    def rungs_s(self, total_s: float) -> list[float]:
        """Return the rungs below `total_s` seconds, rising; the end of a trial is none."""
        rungs = [self.first_rung_s]
        while rungs[-1] < total_s:
            rungs.append(rungs[-1] * self.reduction_factor)
        return rungs[:-1]


class PbtSettings(Settings):
    """Population-based training (arXiv 1711.09846): trials that lag take over weights and mix of a leader."""

    population: Annotated[int, Field(ge=2)] = 4
    segment_steps: PositiveInt | None = None
    """Optimizer updates between two comparisons; null takes `validation.every_steps`."""
    quantile: Annotated[float, Field(gt=0.0, le=0.5)] = 0.25
    """Share of the population that lags, and share that leads."""
    resample_probability: Annotated[float, Field(ge=0.0, le=1.0)] = 0.25
    """Of drawing a value anew in place of moving the leader's by a factor."""
    factors: tuple[float, float] = (0.8, 1.25)
    """What a leader's value is multiplied by, one or the other."""

    @model_validator(mode="after")
    def _down_and_up(self) -> Self:
        if not 0 < self.factors[0] < 1 < self.factors[1]:
            raise ValueError(f"factors {list(self.factors)}: give one below 1 and one above, [0.8, 1.25]")
        return self


class FinalistSettings(Settings):
    """The best trials, trained again with other seeds: scarce locales vary by seed as much as by mix."""

    count: PositiveInt = 2
    """How many of the best trials, beside the baselines where these are repeated too."""
    seeds: PositiveInt = 3
    """Runs of each, the trial itself counted; further seeds count up from that of the run."""
    baselines: bool = True
    """Whether the baselines are trained with as many seeds, so that a comparison with them is fair."""


class SweepSettings(Settings):
    """Search, economy and judgement of one sweep."""

    out: Path
    """Where everything of the sweep is kept; the same folder resumes it."""
    search: Search = "optuna"
    """`proxy`: 2k+1 designed mixes of k groups, a fit, and a run of the mix that it predicts to be best."""
    num_trials: PositiveInt = 16
    """Trials that `random` and `optuna` draw, beside the baselines; the other searches count their own."""
    grid_points: Annotated[int, Field(ge=2)] = 3
    """Values that `grid` takes of a range of numbers, its ends included."""
    seed: int = 1
    """Of what is drawn: values of trials, resampled scores. Runs have the seed of their configuration."""
    baselines: bool = True
    """Uniform, hours^0.5 and the configured mix, trained as trials before any other."""
    max_concurrent_trials: PositiveInt | None = None
    """Null takes as many as the resources of the cluster hold."""
    max_retries: int = Field(1, ge=0)
    """How often a trial that failed goes on from its last checkpoint before it is given up."""
    asha: AshaSettings | None = None
    """Ends trials of `random` and `optuna` that lag; null trains all to the end."""
    pbt: PbtSettings = PbtSettings()
    finalists: FinalistSettings | None = FinalistSettings()
    """Null decides by the trials themselves."""
    test: Path | None = None
    """Folder written by jobs/prepare.py: finalists and baselines are scored on it, and it decides; null
    decides on the validation set, which then was looked at often."""
    trial_price_per_hour: PositiveFloat | None = None
    """What the machines of one trial cost in an hour; for the estimate of `--dry-run` alone."""


class SweepFileSettings(TrainSettings):
    """A file of jobs/sweep.py: a run, in which any key may hold a range, and the section `sweep`."""

    sweep: SweepSettings

    @model_validator(mode="after")
    def _trials_are_alike(self) -> Self:
        if self.resources.min_workers != self.resources.max_workers:
            raise ValueError(
                "resources.num_workers: trials are compared at equal seconds of audio, and a step of fewer "
                "workers holds fewer; give one number"
            )
        return self
