"""The model that a run starts from, and which of its weights move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from asr_ray.config import Settings
from asr_ray.settings.fields import LocaleTag, NewTag, Share

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class HubModel(Settings):
    """A `.nemo` file on the Hugging Face Hub; what is loaded is what was pinned, or nothing."""

    hf: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository, OWNER/NAME."""
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    """Full commit: a branch or tag could point elsewhere tomorrow."""
    sha256: Sha256
    """Of the file; the Hub shows it on the page of the file."""
    file: str | None = None
    """Name in the repository; null takes NAME.nemo."""

    def __str__(self) -> str:
        return f"{self.hf}@{self.revision[:12]}"

    @property
    def file_name(self) -> str:
        """Name in the repository."""
        return self.file or f"{self.hf.partition('/')[2]}.nemo"


def _kind_of_base(value: object) -> str:
    return "hub" if isinstance(value, Mapping | HubModel) else "file"


BaseModelName = Annotated[
    Annotated[str, Tag("file")] | Annotated[HubModel, Tag("hub")], Discriminator(_kind_of_base)
]
"""So that a mistake in a mapping is told of the mapping, and not that it is no text."""


class SpecAugmentSettings(Settings):
    """Stripes of the spectrogram that are blanked in training (arXiv:1904.08779), in place of the model's."""

    freq_masks: int = Field(2, ge=0)
    """Stripes of mel bands."""
    freq_width: int = Field(27, ge=1)
    """Most bands of one stripe."""
    time_masks: int = Field(10, ge=0)
    """Stripes of time."""
    time_width: PositiveInt | Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """Longest stripe of time: frames of 10 ms, or a share of the utterance."""


class LoraSettings(Settings):
    """Low-rank corrections of the encoder's linear layers (arXiv:2106.09685); its own weights stay."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    """The correction is multiplied by alpha / rank."""
    targets: list[Literal["attention", "feed_forward"]] = Field(["attention", "feed_forward"], min_length=1)
    """Attention has five linear layers in each block, the feed-forward parts have four."""
    adapters_only: bool = False
    """False trains decoder, joint and prompt projection as a whole beside; true trains nothing else."""


class NewLocaleSettings(Settings):
    """A locale that the checkpoint does not know yet."""

    slot: int | None = Field(None, ge=0)
    """Free slot of the prompt; null takes the lowest (63 in the released model)."""
    like: LocaleTag | None = None
    """Relative whose column of the prompt projection the new one starts from; null starts from chance."""


class ModelSettings(Settings):
    """The model to start from, how its loss is computed, and which of its weights move."""

    base: BaseModelName
    """`.nemo` file, `tiny` for the base shipped with this package, or a file on the Hugging Face Hub."""
    sha256: Sha256 | None = None
    """Expected checksum of a base that is a file."""
    fastemit_lambda: float = Field(0.0, ge=0.0)
    auxiliary_ctc_weight: Share = 0.0
    """Weight of a CTC head on the encoder that helps a model trained from nothing; never saved."""
    att_context_sizes: list[tuple[int, int]] | None = None
    """Contexts to draw from in training; null keeps all of the checkpoint's."""
    spec_augment: bool | SpecAugmentSettings = True
    """Whether the checkpoint's own takes place, or what does instead."""
    freeze: Literal["none", "encoder"] | PositiveInt = "none"
    """`encoder` trains decoder, joint and prompt projection; a number keeps so many lower encoder layers."""
    lora: LoraSettings | None = None
    """Null trains the weights themselves; what is saved is a plain model either way."""

    max_unknown_share: Share = 0.01
    """Share of a locale's tokens, of a sample of its texts, that the tokenizer may have no piece for."""
    new_locales: dict[NewTag, NewLocaleSettings] | None = None
    """Locales added to the dictionary of the checkpoint; the model that is saved knows them."""

    @model_validator(mode="after")
    def _new_columns_learn(self) -> Self:
        from_chance = [tag for tag, new in (self.new_locales or {}).items() if new.like is None]
        if from_chance and self.lora is not None and self.lora.adapters_only:
            raise ValueError(
                f"lora.adapters_only keeps the prompt projection, so {from_chance[0]} would never be "
                f"learned; give new_locales.{from_chance[0]}.like, or let adapters_only be false"
            )
        return self

    @model_validator(mode="after")
    def _one_checksum(self) -> Self:
        if self.sha256 is not None and isinstance(self.base, HubModel):
            raise ValueError("sha256 stands inside of base for a file on the Hub; take out the other one")
        return self

    @model_validator(mode="after")
    def _adapters_have_a_place(self) -> Self:
        if self.lora is not None and self.freeze == "encoder":
            raise ValueError(
                "lora keeps the encoder's own weights as they are, and freeze: encoder leaves no layer to "
                "correct; set freeze to none, or to the number of lower layers that get no correction"
            )
        return self
