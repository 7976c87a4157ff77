"""Corpora and what their rows must satisfy: jobs/prepare.py and jobs/check_data.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.config import Settings
from asr_ray.settings.fields import NEW_LOCALES, LocaleTag, NewTag, Share, known_tags
from asr_ray.settings.model import BaseModelName


class ColumnSettings(Settings):
    """Names of the columns of `hf_parquet`; null finds them by their usual names, "" takes none."""

    audio: str | None = None
    text: str | None = None
    locale: str | None = None
    speaker: str | None = None
    duration: str | None = None
    """Seconds; without one the audio is measured."""
    id: str | None = None
    """Never guessed: an `id` is often that of a sentence which several people read."""


class CorpusSettings(Settings):
    """One corpus to prepare."""

    path: str
    """File, glob or folder of what lists the rows; local or a URL (`s3://`, `gs://`, `hf://`)."""
    source: str
    """Name of the corpus: the second key of a mix, beside the locale."""
    format: Literal[
        "nemo", "nemo_tarred", "lhotse", "lhotse_shar", "hf_parquet", "common_voice", "fleurs"
    ] = "nemo"
    """Reader that understands the files."""
    locale: LocaleTag | None = None
    """Locale of rows that do not name one."""
    channel: int | None = Field(None, ge=0)
    """Channel to take of recordings with several, from 0; null requires mono."""
    tars: str | None = None
    """`nemo_tarred`: the tar files, `audio__OP_0..127_CL_.tar` or a glob."""
    split: str = "train"
    """`common_voice`, `fleurs`: which of the lists in the folder `path`."""
    columns: ColumnSettings = ColumnSettings()

    @model_validator(mode="after")
    def _tars_belong_to_their_format(self) -> Self:
        if (self.format == "nemo_tarred") != (self.tars is not None):
            raise ValueError(
                "format nemo_tarred needs `tars`, the pattern of the tar files; others have none"
            )
        return self


class CheckSettings(Settings):
    """What a row must satisfy to be trained on; everything else goes to quarantine."""

    min_duration_s: PositiveFloat = 0.1
    max_duration_s: PositiveFloat = 40.0
    duration_tolerance_s: PositiveFloat = 0.1
    """Largest accepted difference between the manifest's duration and the audio's."""
    max_characters_per_s: PositiveFloat = 40.0
    """Transcripts denser than this do not belong to their audio."""
    min_characters_per_s: float = Field(1.0, ge=0.0)
    """Transcripts thinner than this lack words; the first 5 seconds count as pauses, so that one-word
    recordings pass. Slow Chinese, the thinnest script, has three characters a second. 0 judges none."""
    silence_peak: float = Field(1e-3, ge=0.0, le=1.0)
    """Audio whose highest absolute sample stays below this share of full scale is silent."""
    min_script_share: Share = 0.5
    """Smallest share of letters that must be in the script of the locale."""
    max_unknown_share: Share = 0.1
    """Largest share of tokens that the tokenizer may not know."""
    empty_text: Literal["reject", "keep"] = "reject"
    """What becomes of rows in which no word is said; evaluation keeps them, as tests of silence."""
    max_rejected_share: Share = 0.01
    """Faulty rows, per locale, above which preparation fails; held-out speech is left out and not counted."""
    same_audio: Literal["reject", "count"] = "reject"
    """What becomes of audio that an earlier row has already, sample by sample."""
    held_out_text: Literal["reject", "count"] = "count"
    """What becomes of words (case and punctuation aside) that held-out speech of the locale says too."""
    max_text_repeats: PositiveInt = 20
    """Rows of a locale and source that may say the same words before a warning counts them."""
    new_locales: list[NewTag] = []
    """Locales that the model does not know yet and training gives it (`model.new_locales`)."""


class PrepareSettings(Settings):
    """Corpora -> Parquet shards, catalog, quarantine."""

    corpora: list[CorpusSettings] = Field(min_length=1)
    out: Path
    """Folder to write; an unchanged one is reused."""
    reuse: bool = True
    """False prepares anew even if nothing seems changed: audio files that were replaced are not noticed."""
    held_out: list[Path] = []
    """Prepared folders of validation and test speech; rows with the same audio are left out."""
    tokenizer: BaseModelName = "tiny"
    """Model whose tokenizer counts the tokens: a `.nemo` file, `tiny` for the base shipped with this package,
    or a file on the Hugging Face Hub, as `model.base` of a run."""
    decode_labels: dict[str, str] | None = None
    """Labels of the nodes that read, check and write; null means any."""
    in_place: bool = False
    """Leave audio that is 16 kHz mono where it stands and note its place; it must stay there for training."""
    utterances_per_shard: PositiveInt = 2048
    utterances_per_row_group: PositiveInt = 16
    """The unit in which training data is read and mixed."""
    checks: CheckSettings = CheckSettings()

    @classmethod
    def context_of(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Locales that the model is to get are known to every key that names one."""
        checks = tree.get("checks")
        return known_tags(checks.get(NEW_LOCALES) if isinstance(checks, Mapping) else None)

    @model_validator(mode="after")
    def _held_out_is_elsewhere(self) -> Self:
        if self.out in self.held_out:
            raise ValueError(f"held_out: {self.out} is the folder to write; name other prepared folders")
        return self


class CheckDataSettings(PrepareSettings):
    """What jobs/prepare.py would read, or what it has written, to be judged without writing shards."""

    corpora: list[CorpusSettings] = []
    out: Path = Path("data")
    """Folder that would be prepared; findings about corpora go to its folder `checked`."""
    data: Path | None = None
    """Prepared folder to judge instead of the corpora."""

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if self.data is None and not self.corpora:
            raise ValueError("nothing to check: set corpora, or data to a prepared folder")
        return self
