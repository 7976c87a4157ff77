"""The schema of every job's configuration: one field, one default, one line of documentation each.

Cross-field rules raise here, before Ray or a GPU is touched. Field names carry their units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.augment_settings import AugmentSettings
from asr_ray.config import Settings
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, nearest

Share = Annotated[float, Field(ge=0.0, le=1.0)]
PromptMode = Literal["langID", "auto", "unified"]
"""As in `records`, which would bring NumPy along."""


def _known_locale(tag: str) -> str:
    if tag not in DEFAULT_PROMPT_SLOTS:
        guess = nearest(tag, DEFAULT_PROMPT_SLOTS)
        raise ValueError(f"unknown locale {tag!r}" + (f", did you mean {guess!r}?" if guess else ""))
    return tag


LocaleTag = Annotated[str, AfterValidator(_known_locale)]


def _known_mix_key(name: str) -> str:
    locale, slash, source = name.partition("/")
    if slash and not source:
        raise ValueError(f"{name!r} names no source; write {locale} or {locale}/SOURCE")
    _known_locale(locale)
    return name


MixKey = Annotated[str, AfterValidator(_known_mix_key)]
"""A locale, or one source of it: `el-GR`, `el-GR/radio`."""


class CorpusSettings(Settings):
    """One corpus to prepare."""

    path: str
    """Manifest file or glob of them."""
    source: str
    """Name of the corpus: the second key of a mix, beside the locale."""
    format: Literal["nemo"] = "nemo"
    """Reader that understands the files."""
    locale: LocaleTag | None = None
    """Locale of rows that do not name one."""


class CheckSettings(Settings):
    """What a row must satisfy to be trained on; everything else goes to quarantine."""

    min_duration_s: PositiveFloat = 0.1
    max_duration_s: PositiveFloat = 40.0
    duration_tolerance_s: PositiveFloat = 0.1
    """Largest accepted difference between the manifest's duration and the audio's."""
    max_characters_per_s: PositiveFloat = 40.0
    """Transcripts denser than this do not belong to their audio."""
    silence_peak: float = Field(1e-3, ge=0.0, le=1.0)
    """Audio whose highest absolute sample stays below this share of full scale is silent."""
    min_script_share: Share = 0.5
    """Smallest share of letters that must be in the script of the locale."""
    max_unknown_share: Share = 0.1
    """Largest share of tokens that the tokenizer may not know."""
    max_rejected_share: Share = 0.01
    """Rows in quarantine, per locale, above which preparation fails."""


class PrepareSettings(Settings):
    """Corpora -> Parquet shards, catalog, quarantine."""

    corpora: list[CorpusSettings] = Field(min_length=1)
    out: Path
    """Folder to write; an unchanged one is reused."""
    tokenizer: str = "tiny"
    """`.nemo` whose tokenizer counts the tokens, or `tiny` for the base model shipped with this package."""
    utterances_per_shard: PositiveInt = 2048
    utterances_per_row_group: PositiveInt = 16
    """The unit in which training data is read and mixed."""
    checks: CheckSettings = CheckSettings()


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
    """Predicted cost of a padded batch of B utterances of T seconds and U tokens: B(aT + bT^2 + cTU)."""

    a: float = Field(45.0, ge=0.0)
    """Per second of audio: convolutions and feed-forward layers."""
    b: float = Field(0.07, ge=0.0)
    """Per squared second: attention."""
    c: float = Field(0.84, ge=0.0)
    """Per second and token: joint and lattice."""


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
    batch_s: PositiveFloat = 240.0
    """Largest batch of one rank, in seconds of padded audio."""
    max_batch_utterances: PositiveInt = 512
    window_utterances: PositiveInt = 2048
    """Utterances that are shuffled and cut into batches together."""
    cost: CostSettings = CostSettings()
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
    """Seconds of audio that may wait, decoded, in the object store of the cluster (32 KB each)."""


class ModelSettings(Settings):
    """The model to start from and how its loss is computed."""

    base: str
    """`.nemo` file, or `tiny` for the base shipped with this package."""
    sha256: str | None = None
    """Expected checksum of the base."""
    fastemit_lambda: float = Field(0.0, ge=0.0)
    auxiliary_ctc_weight: Share = 0.0
    """Weight of a CTC head on the encoder that helps a model trained from nothing; never saved."""
    att_context_sizes: list[tuple[int, int]] | None = None
    """Contexts to draw from in training; null keeps all of the checkpoint's."""
    spec_augment: bool = True
    freeze: Literal["none", "encoder"] = "none"


class OptimSettings(Settings):
    """AdamW with a warm-up and one decay."""

    peak_lr: PositiveFloat = 1e-4
    """The learning rate at the end of the warm-up (never a Noam multiplier)."""
    min_lr: float = Field(1e-6, ge=0.0)
    warmup_steps: int = Field(100, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = Field(1e-3, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: PositiveFloat = 1.0
    accumulate: PositiveInt = 1
    """Steps of the plan whose gradients are added before one update."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min_lr > self.peak_lr:
            raise ValueError(f"min_lr {self.min_lr} is above peak_lr {self.peak_lr}; lower it")
        return self


class ValidationSettings(Settings):
    """Which locales are judged during training, and on how much."""

    targets: list[LocaleTag] = Field(min_length=1)
    """Locales being tuned; the best checkpoint is the best on these."""
    guards: list[LocaleTag] = []
    """Locales that must not get worse."""
    max_guard_loss: float = Field(0.05, ge=0.0)
    """Largest absolute rise of a guard's error rate over the base (0.05 is five points)."""
    every_steps: PositiveInt = 500
    utterances_per_locale: PositiveInt = 200
    att_context_size: tuple[int, int] = (56, 3)


class CheckpointSettings(Settings):
    """When the run's state is committed."""

    every_steps: PositiveInt = 500
    keep: int = Field(2, ge=2)


class ResourceSettings(Settings):
    """The worker group."""

    num_workers: PositiveInt = 1
    use_gpu: bool = False
    cpus_per_worker: PositiveFloat = 1.0
    """Fractions are fine; at least one CPU of the cluster must stay free for reading data."""
    threads_per_worker: PositiveInt | None = None
    """Threads of torch and numba on CPU; null lets torch decide."""
    local_cpus: PositiveInt | None = None
    """CPUs of the Ray cluster that is started when none is joined; null takes those of the machine."""
    max_failures: int = Field(3, ge=-1)
    """Restarts of the worker group after a failure; -1 is without limit."""


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

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.optim.warmup_steps >= self.max_steps:
            raise ValueError(
                f"optim.warmup_steps {self.optim.warmup_steps} must be below max_steps {self.max_steps}"
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


class EvaluateSettings(Settings):
    """Decode one or more models on the same speech and compare them."""

    models: dict[str, str] = Field(min_length=1)
    """Name -> `.nemo` file (or `tiny`); the first is the one others are compared with."""
    data: Path
    """Folder written by jobs/prepare.py."""
    out: Path
    locales: list[LocaleTag] | None = None
    """Null evaluates every locale of the data."""
    utterances_per_locale: PositiveInt | None = None
    att_context_size: tuple[int, int] = (56, 3)
    mode: Literal["offline", "streaming"] = "offline"
    """Whole utterances under the chunk mask, or true cache-aware streaming."""
    prompt: Literal["locale", "auto"] = "locale"
    batch_s: PositiveFloat = 120.0
    num_actors: PositiveInt = 1
    use_gpu: bool = False
    run_dir: Path | None = None
    """Training run whose curves and consumed hours the report shows."""
    guards: list[LocaleTag] = []
    max_guard_loss: float = Field(0.05, ge=0.0)
    seed: int = 1


class SpeechSettings(Settings):
    """Synthetic speech of the demo."""

    locales: list[LocaleTag] = ["en-US", "es-ES", "el-GR", "bg-BG"]
    train: PositiveInt = 1200
    validation: PositiveInt = 40
    test: PositiveInt = 100
    """Utterances per locale and split."""
    seed: int = 1


class DemoSettings(Settings):
    """The whole way once, on synthetic speech."""

    out: Path = Path("runs/demo")
    speech: SpeechSettings = SpeechSettings()
    train: Path = Path("configs/runs/demo.yaml")
    """Configuration of the fine-tuning run; its folders are set by the demo."""
    set: list[str] = []
    """Overrides of that configuration, `optim.peak_lr=3e-4`."""
