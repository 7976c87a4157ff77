"""How far the weights move at each update."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from asr_ray.config import Settings

Schedule = Literal["cosine", "constant", "wsd"]


class RateSettings(Settings):
    """Factors of the learning rate, by part of the model."""

    encoder: PositiveFloat = 1.0
    decoder: PositiveFloat = 1.0
    joint: PositiveFloat = 1.0
    prompt: PositiveFloat = 1.0
    """Of the projection that the language prompt enters by."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Each encoder layer has this times the rate of the layer above it, the subsampling the lowest."""


class OptimSettings(Settings):
    """AdamW with a warm-up and one decay."""

    peak_lr: PositiveFloat = 1e-4
    """The learning rate at the end of the warm-up (never a Noam multiplier)."""
    min_lr: float = Field(1e-6, ge=0.0)
    warmup_steps: int = Field(100, ge=0)
    schedule: Schedule = "cosine"
    decay_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Share of `max_steps` at the end in which `wsd` (warm up, stay, decay) falls to `min_lr`."""
    rates: RateSettings = RateSettings()
    weight_decay: float = Field(1e-3, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: PositiveFloat = 1.0
    accumulate: PositiveInt = 1
    """Steps of the plan whose gradients are added before one update."""
    global_batch_s: PositiveFloat | None = None
    """Padded seconds of an update over all ranks, in place of `accumulate`, however many there are."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.min_lr > self.peak_lr:
            raise ValueError(f"min_lr {self.min_lr} is above peak_lr {self.peak_lr}; lower it")
        return self

    @model_validator(mode="after")
    def _one_batch(self) -> Self:
        if self.global_batch_s is not None and self.accumulate > 1:
            raise ValueError("gives accumulate and global_batch_s; choose one")
        return self

    def decay_steps(self, max_steps: int) -> int:
        """Updates at the end of the run in which `wsd` decays."""
        return max(1, round(self.decay_share * max_steps))
