"""What is read in training, in which shares, and how it is cut into batches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.config import Settings
from asr_ray.errors import ConfigError
from asr_ray.locales import PromptMode
from asr_ray.settings.augment import AugmentSettings
from asr_ray.settings.fields import LocaleTag, MixKey, Share


class ReplaySettings(Settings):
    """Speech of languages that are not being tuned, so that they are not forgotten."""

    share: Share = 0.3
    locales: list[LocaleTag] = Field(min_length=1)


class MixChange(Settings):
    """What is different from a step on; what is null is as in the mix above the schedule."""

    from_step: int = Field(ge=0)
    """Optimizer update; the change holds from the first window that begins at or after it."""
    ratios: dict[MixKey, PositiveFloat] | None = None
    """Takes the place of `alpha`, as does `alpha` of `ratios`: a change names one of them at most."""
    alpha: Share | None = None
    source_alpha: Share | None = None
    replay: ReplaySettings | None = None
    max_passes: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.ratios is not None and self.alpha is not None:
            raise ValueError(f"from_step {self.from_step}: gives ratios and alpha; choose one")
        if self.model_dump(exclude={"from_step"}, exclude_none=True) == {} and self.from_step > 0:
            raise ValueError(f"from_step {self.from_step}: changes nothing; give ratios, alpha or replay")
        return self


class MixSettings(Settings):
    """Target shares, in seconds of audio."""

    ratios: dict[MixKey, PositiveFloat] | None = None
    """Explicit parts by locale or locale/source; null takes hours to the power of `alpha`."""
    alpha: Share = 0.5
    """0 gives every locale the same share, 1 its natural one."""
    source_alpha: Share | None = None
    """The same for the sources inside one locale; null is as `alpha`, and 1 under `ratios`."""
    replay: ReplaySettings | None = None
    max_passes: PositiveFloat | None = None
    """Largest number of times a corpus may be repeated over the whole run."""
    schedule: list[MixChange] = []
    """Changes of the mix during the run, in the order of their steps."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        steps = [change.from_step for change in self.schedule]
        if steps != sorted(set(steps)):
            raise ValueError(f"schedule: from_step must rise from entry to entry, got {steps}")
        return self

    def stages(self) -> list[tuple[int, MixSettings]]:
        """(first optimizer update, mix without schedule) of each part of the run; the first from 0 on."""
        stages = {0: self.model_copy(update={"schedule": []})}
        for change in self.schedule:
            update = change.model_dump(exclude={"from_step"}, exclude_none=True)
            # Validated again so that nested sections are settings and not what was dumped.
            ratios = None if change.alpha is not None else self.ratios
            tree = self.model_dump(exclude={"schedule"}) | {"ratios": ratios} | update
            stages[change.from_step] = MixSettings.model_validate(tree)
        return sorted(stages.items())


class CostSettings(Settings):
    """Predicted cost of a padded batch of B utterances of T seconds and U tokens: B(aT + bT^2 + cTU) + d."""

    a: float = Field(45.0, ge=0.0)
    """Per second of audio: convolutions and feed-forward layers."""
    b: float = Field(0.07, ge=0.0)
    """Per squared second: attention."""
    c: float = Field(0.84, ge=0.0)
    """Per second and token: joint and lattice."""
    d: float = Field(0.0, ge=0.0)
    """Per batch; decides nothing, but belongs to the predicted time."""
    device: str | None = None
    """What the numbers were measured on, in seconds; null for numbers by arithmetic, of no such unit."""


class SourceSettings(Settings):
    """What is different for one source."""

    augment: AugmentSettings | None = None
    """In place of all of `data.augment`; `{}` leaves the audio of this source as it is."""
    prompt_mode: PromptMode | None = None
    """In place of `data.prompt_mode`; an utterance that was prepared with a mode of its own keeps that."""


class DataSettings(Settings):
    """What is read and how it is cut into batches."""

    train: Path
    """Folder written by jobs/prepare.py."""
    validation: Path
    """Folder written by jobs/prepare.py, of speech that is not trained on."""
    mix: MixSettings = MixSettings()
    batch_s: PositiveFloat | None = 240.0
    """Largest batch of one rank, in seconds of padded audio; null takes what `calibration` found to fit."""
    max_batch_utterances: PositiveInt = 512
    window_utterances: PositiveInt = 4096
    """Utterances that are shuffled and cut into batches together; more take less padding and more memory."""
    cost: CostSettings | None = None
    """Null takes the numbers of `calibration`, or those of the released model by arithmetic."""
    calibration: Path | None = None
    """Record of jobs/calibrate.py, made with this model and precision."""
    augment: AugmentSettings = AugmentSettings()
    """Drawn for each utterance each time it comes round; the ledger counts seconds as recorded."""
    sources: dict[str, SourceSettings] | None = None
    """Exceptions by source."""
    prompt_mode: PromptMode = "langID"
    """Language given, language to be detected, or a draw between both per utterance."""
    auto_share: Share = 0.5
    """Share of `auto` under `unified`."""
    tags: Literal["none", "append"] = "none"
    """`append` writes the language tag after each transcript."""
    read_ahead_s: PositiveFloat = 7200.0
    """Seconds of audio per rank that may wait, decoded, in the object store of the cluster (32 KB each)."""

    @model_validator(mode="after")
    def _costs_from_one_place(self) -> Self:
        if self.calibration is not None and self.cost is not None:
            raise ValueError("gives cost and calibration; choose one")
        if self.batch_s is None and self.calibration is None:
            raise ValueError("batch_s is null, which takes the largest batch of a calibration; name one")
        return self

    @property
    def max_padded_s(self) -> float:
        """`batch_s` as a number.

        Raises:
            ConfigError: it is null, and `calibration` has not been read.
        """
        if self.batch_s is None:
            raise ConfigError(
                "data.batch_s is still to be read from data.calibration",
                fix="resolve the settings with `with_calibration` first",
            )
        return self.batch_s
