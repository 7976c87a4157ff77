"""One fine-tuning run: jobs/train.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.config import Settings
from asr_ray.settings.data import DataSettings
from asr_ray.settings.evaluate import PromptChoice
from asr_ray.settings.fields import NEW_LOCALES, LocaleTag, known_tags
from asr_ray.settings.model import ModelSettings
from asr_ray.settings.optim import OptimSettings
from asr_ray.settings.trackers import TrackerSettings


class ValidationSettings(Settings):
    """Which locales are judged during training, and on how much."""

    targets: list[LocaleTag] = Field(min_length=1)
    """Locales being tuned; the best checkpoint is the best on these."""
    guards: list[LocaleTag] = []
    """Locales that must not get worse."""
    max_guard_loss: float = Field(0.05, ge=0.0)
    """Largest absolute rise of a guard's error rate over the base (0.05 is five points)."""
    every_steps: PositiveInt = 500
    every_hours: PositiveFloat | None = None
    """Hours of audio, of all ranks together, between two validations, in place of `every_steps`."""
    stop_when_broken: PositiveInt | None = 3
    """End the run when guards were beyond their limit in so many validations in a row and are not coming back
    (their worst loss beyond it did not halve within these); null never does."""
    utterances_per_locale: PositiveInt = 200
    prompt: PromptChoice = "locale"
    """Whether the model is told the language, or has to find it as users of `auto` will have it."""
    att_context_size: tuple[int, int] = (56, 3)
    base_scores: Path | None = None
    """What the base makes of these utterances, as a sweep leaves it for its trials; null decodes them."""

    @property
    def interval(self) -> str:
        """What lies between two validations, in words."""
        return f"{self.every_hours:g} hours of audio" if self.every_hours else f"{self.every_steps} steps"


class CheckpointSettings(Settings):
    """When the run's state is committed."""

    every_steps: PositiveInt = 500
    keep: int = Field(2, ge=2)
    average: PositiveInt = 1
    """Mean of the weights of so many best checkpoints, taken if it validates better than the best of them."""


class ResourceSettings(Settings):
    """The worker group and the nodes it may use."""

    num_workers: PositiveInt | tuple[PositiveInt, PositiveInt] = 1
    """Ranks; [fewest, most] goes on with what is there when nodes are lost or come back."""
    gpus_per_worker: float = Field(0.0, ge=0.0, le=1.0)
    """1 trains on GPUs, 0 on CPUs; a part of one shares it, for a single worker only."""
    cpus_per_worker: PositiveFloat = 1.0
    """Fractions are fine; at least one CPU of the cluster must stay free for reading data."""
    worker_labels: dict[str, str] | None = None
    """Labels of the nodes that train; null means any."""
    decode_labels: dict[str, str] | None = None
    """Labels of the nodes that read and decode: CPU nodes beside expensive GPUs; null means any."""
    autoscaling: bool = False
    """Whether nodes may still be missing at the start, because the cluster starts them on demand."""
    threads_per_worker: PositiveInt | None = None
    """Threads of torch and numba on CPU; null lets torch decide."""
    local_cpus: PositiveInt | None = None
    """CPUs of the Ray cluster that is started when none is joined; null takes those of the machine."""
    max_failures: int = Field(3, ge=-1)
    """Restarts of the worker group after a failure; -1 is without limit."""
    hang_timeout_s: float = Field(600.0, ge=5.0)
    """After so long without anything new on any rank, those that hang are ended and the group restarts."""

    @property
    def min_workers(self) -> int:
        """With fewer ranks nothing is trained."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """What is asked for, and what is planned with."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def ranks_in_words(self) -> str:
        """How many ranks, for people."""
        if self.min_workers == self.max_workers:
            return f"{self.max_workers} ranks"
        return f"{self.max_workers} ranks (the most; {self.min_workers} are enough)"

    @property
    def use_gpu(self) -> bool:
        """Whether workers train on GPUs."""
        return self.gpus_per_worker > 0

    @model_validator(mode="after")
    def _fewest_before_most(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"num_workers {self.min_workers} to {self.max_workers}: give [fewest, most]")
        return self

    @model_validator(mode="after")
    def _ranks_have_gpus_of_their_own(self) -> Self:
        if self.max_workers > 1 and 0 < self.gpus_per_worker < 1:
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker:g} would put two ranks on one GPU, "
                "which NCCL refuses; set 1, or num_workers to 1"
            )
        return self


class TrainSettings(Settings):
    """One fine-tuning run."""

    run_dir: Path
    """Where everything of the run is kept; the same folder resumes it."""
    seed: int = 1
    max_steps: PositiveInt = 1000
    """Optimizer updates."""
    max_nonfinite_steps: PositiveInt = 5
    """Skipped steps in a row after which the run is given up."""
    precision: Literal["fp32", "bf16"] = "fp32"
    data: DataSettings
    model: ModelSettings
    optim: OptimSettings = OptimSettings()
    validation: ValidationSettings
    checkpoint: CheckpointSettings = CheckpointSettings()
    resources: ResourceSettings = ResourceSettings()
    trackers: TrackerSettings = TrackerSettings()

    @classmethod
    def context_of(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Locales that the model gets are known to every key that names one."""
        model = tree.get("model")
        return known_tags(model.get(NEW_LOCALES) if isinstance(model, Mapping) else None)

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.optim.warmup_steps >= self.max_steps:
            raise ValueError(
                f"optim.warmup_steps {self.optim.warmup_steps} must be below max_steps {self.max_steps}"
            )
        return self

    @model_validator(mode="after")
    def _decay_fits(self) -> Self:
        decay = self.optim.decay_steps(self.max_steps)
        if self.optim.schedule == "wsd" and self.optim.warmup_steps + decay > self.max_steps:
            raise ValueError(
                f"optim.warmup_steps {self.optim.warmup_steps} and the {decay} steps of optim.decay_share "
                f"are more than max_steps {self.max_steps}; lower one of them"
            )
        return self

    @model_validator(mode="after")
    def _guards_are_not_targets(self) -> Self:
        both = set(self.validation.targets) & set(self.validation.guards)
        if both:
            raise ValueError(f"validation: {', '.join(sorted(both))} is a target and a guard; choose one")
        return self

    @model_validator(mode="after")
    def _replay_is_not_target(self) -> Self:
        for _, mix in self.data.mix.stages():
            both = set(mix.replay.locales) & set(self.validation.targets) if mix.replay else set()
            if both:
                raise ValueError(
                    f"data.mix.replay.locales: {', '.join(sorted(both))} is a target of this run"
                )
        return self

    @model_validator(mode="after")
    def _schedule_is_reached(self) -> Self:
        last = max((change.from_step for change in self.data.mix.schedule), default=0)
        if last >= self.max_steps:
            raise ValueError(
                f"data.mix.schedule: from_step {last} is never reached, max_steps is {self.max_steps}"
            )
        return self
