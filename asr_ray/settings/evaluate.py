"""Which models are decoded on which speech, and how: jobs/evaluate.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from asr_ray.config import Settings
from asr_ray.contexts import AttContextSize, has_whole_chunks
from asr_ray.settings.fields import NEW_LOCALES, LocaleTag, NewTag, known_tags
from asr_ray.settings.model import BaseModelName
from asr_ray.settings.prepare import CorpusSettings

T = TypeVar("T")

DecodeMode = Literal["offline", "streaming"]
PromptChoice = Literal["locale", "auto"]
Precision = Literal["fp32", "bf16"]
TestSource = Path | CorpusSettings

PREPARED = "prepared"
"""Folder below `out` for test speech that had to be prepared; nothing else may have its name."""

_FOLDER_NAME = re.compile(r"[\w.-]*\w[\w.-]*")


def _listed(value: Any) -> Any:
    """One value stands for a list of it; a context is itself a list, of numbers."""
    if not isinstance(value, list | tuple):
        return [value]
    return [value] if value and all(isinstance(part, int) for part in value) else list(value)


def _each_once(values: list[T]) -> list[T]:
    if not values or any(value in values[:index] for index, value in enumerate(values)):
        raise ValueError(f"name each value once, and at least one; got {values}")
    return values


OneOrMore = Annotated[list[T], BeforeValidator(_listed), AfterValidator(_each_once)]


def _whole_chunks(context: AttContextSize) -> AttContextSize:
    if not has_whole_chunks(context):
        raise ValueError(
            f"{list(context)}: the left context is not a multiple of the chunk of {context[1] + 1} frames; "
            "use [56, 0], [56, 1], [56, 3], [56, 6] or [56, 13]"
        )
    return context


def _named(value: Any) -> Any:
    """A single test set gets the name of its folder or file; a corpus that of its source."""
    if isinstance(value, CorpusSettings):
        return {value.source: value}
    if isinstance(value, Mapping):
        return {str(value.get("source")): value} if "path" in value else value
    path = Path(str(value))
    return {(path.parent.name if path.name == "catalog.parquet" else path.stem) or "data": path}


def _folder_names(sources: dict[str, T]) -> dict[str, T]:
    wrong = [name for name in sources if not _FOLDER_NAME.fullmatch(name) or name == PREPARED]
    if wrong:
        raise ValueError(
            f"names become folders: use letters, digits, `.`, `-` and `_`, and not {PREPARED!r}; got {wrong}"
        )
    return sources


class CompareSettings(Settings):
    """A gate: what may not get worse since an earlier evaluation; exit code 7 where it did.

    A locale fails when its rate rose by more than its limit and the rise is no chance. Points are those of a
    percentage: from 10% to 11% is one.
    """

    baseline: Path
    """`metrics.json` of the earlier evaluation. With its `results.jsonl` still beside it the models are
    compared utterance by utterance, which sees much smaller losses than the intervals in it do."""
    model: str | None = None
    """Which of `models` is judged; null takes the last."""
    baseline_model: str | None = None
    """Which model of the baseline it is judged by; null takes the one of the same name, or the only one."""
    max_loss_points: NonNegativeFloat = 0.5
    """Largest rise of a locale's rate."""
    max_loss_points_by_locale: dict[LocaleTag, NonNegativeFloat] = {}
    """Other limits for some locales."""
    max_macro_loss_points: dict[Literal["wer", "cer"], NonNegativeFloat] = {}
    """Limits for the mean over the locales that are scored in words, or in characters."""


class EvaluateSettings(Settings):
    """Decode one or more models on the same speech and compare them.

    Contexts, modes, prompts and test sets may each be one or several; every combination is scored.
    """

    models: Annotated[dict[str, BaseModelName], AfterValidator(_folder_names)] = Field(min_length=1)
    """Name -> `.nemo` file, `tiny`, or a file on the Hugging Face Hub (as `model.base` of a run); the first
    is the one others are compared with."""
    data: Annotated[dict[str, TestSource], BeforeValidator(_named), AfterValidator(_folder_names)] = Field(
        min_length=1
    )
    """Test speech: a folder written by jobs/prepare.py (or its catalog), a NeMo manifest, or a corpus of any
    format with its `path`, `source` and `format`; several as name -> one of these. What is not prepared
    is prepared in place, below `out`, and a row that cannot be used is an error."""
    out: Path
    new_locales: list[NewTag] = []
    """Locales that the models know beyond those of the released one; a model that lacks one is an error."""
    locales: list[LocaleTag] | None = None
    """Null evaluates every locale of the data."""
    utterances_per_locale: PositiveInt | None = None
    att_context_size: OneOrMore[Annotated[AttContextSize, AfterValidator(_whole_chunks)]] = [(56, 3)]
    """One context or several."""
    mode: OneOrMore[DecodeMode] = ["offline"]
    """Whole utterances under the chunk mask, or true cache-aware streaming, or both."""
    prompt: OneOrMore[PromptChoice] = ["locale"]
    """Whether the model is told the language or has to find it, or both."""
    tags: Literal["strip", "keep"] = "strip"
    """Whether hypotheses keep the `<xx-XX>` that the model writes; scores never count it as a word."""
    precision: Precision = "fp32"
    """Of the encoder."""
    batch_s: PositiveFloat = 120.0
    """Largest batch, in seconds of padded audio."""
    piece_s: PositiveFloat = 120.0
    """Seconds of audio between two results of an actor: what a stopped evaluation loses at most."""
    num_actors: PositiveInt = 1
    use_gpu: bool = False
    worker_labels: dict[str, str] | None = None
    """Labels of the nodes whose actors decode; null means any."""
    run_dir: Path | None = None
    """Training run whose curves and consumed hours the report shows."""
    guards: list[LocaleTag] = []
    max_guard_loss: float = Field(0.05, ge=0.0)
    compare: CompareSettings | None = None
    """Judge a model by an earlier evaluation; `--compare FILE` sets `compare.baseline`."""
    report_audio_mb: NonNegativeFloat = 4.0
    """Largest size of the speech inside one report, of its worst utterances; 0 where speech may not leave."""
    hub_base_model: str | None = None
    """Hugging Face id of the base model (`owner/name`), for the model card."""
    seed: int = 1

    @classmethod
    def context_of(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Locales that the models were given are known to every key that names one."""
        return known_tags(tree.get(NEW_LOCALES))

    @model_validator(mode="after")
    def _judged_model_and_folders(self) -> Self:
        if self.compare and self.compare.model not in (None, *self.models):
            raise ValueError(f"compare.model {self.compare.model!r} is none of {', '.join(self.models)}")
        if self.run_dir and self.run_dir.resolve() == self.out.resolve():
            raise ValueError("out is run_dir, whose summary.json it would write over; use run_dir/evaluation")
        return self
