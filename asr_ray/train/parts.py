"""Which weights of a model move, and at which share of the learning rate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from asr_ray.errors import ConfigError
from asr_ray.model.lora import add_lora
from asr_ray.settings.model import ModelSettings, SpecAugmentSettings
from asr_ray.settings.optim import RateSettings

_LAYER = re.compile(r"(?:^|\.)encoder\.layers\.(\d+)\.")
_PARTS = re.compile(r"(?:^|\.)(encoder|decoder|joint|prompt_kernel)\.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight stands.

    Attributes:
        part: encoder, decoder, joint or prompt; "other" for what is never saved.
        layer: block of the encoder from the lowest on, 0 for the subsampling below the first; None outside.
    """

    part: str
    layer: int | None = None


def place_of(name: str) -> Place:
    """Return where the parameter of this name stands, `model.encoder.layers.3.norm_out.weight` or so."""
    found = _PARTS.search(name)
    if found is None:
        return Place("other")
    if found[1] != "encoder":
        return Place("prompt" if found[1] == "prompt_kernel" else found[1])
    layer = _LAYER.search(name)
    return Place("encoder", 0 if layer is None else int(layer[1]) + 1)


def rate_factor(place: Place, *, rates: RateSettings, num_layers: int) -> float:
    """Return what the learning rate is multiplied by at a place.

    Args:
        num_layers: blocks of the encoder; the topmost has the full rate of the encoder.
    """
    if place.part == "other":
        return 1.0
    factor: float = getattr(rates, place.part)
    return factor if place.layer is None else factor * rates.layer_decay ** (num_layers - place.layer)


def parameter_groups(module: nn.Module, *, rates: RateSettings) -> list[dict[str, Any]]:
    """Return groups for a torch optimizer: the weights of one place that are not frozen, and their factor.

    The groups depend on the model and on what is frozen, but not on the rates, so that a run may go on with
    other rates.
    """
    named = [(place_of(name), weight) for name, weight in module.named_parameters()]
    num_layers = max((place.layer for place, _ in named if place.layer is not None), default=0)
    groups: dict[Place, list[nn.Parameter]] = {}
    for place, weight in named:
        if weight.requires_grad:
            groups.setdefault(place, []).append(weight)
    return [
        {"params": weights, "lr_factor": rate_factor(place, rates=rates, num_layers=num_layers)}
        for place, weights in groups.items()
    ]


def choose_trained(model: Any, *, settings: ModelSettings, seed: int) -> None:
    """Freeze what a run keeps as it is, and add adapters where it asks for them.

    Raises:
        ConfigError: more layers are to be kept than there are.
    """
    lora, frozen_layers = settings.lora, settings.freeze if isinstance(settings.freeze, int) else 0
    check_layers(settings, num_layers=len(model.encoder.layers))
    if lora is not None:
        if lora.adapters_only:
            model.requires_grad_(False)
        add_lora(model, lora=lora, first_layer=frozen_layers, seed=seed)
    elif settings.freeze == "encoder":
        model.encoder.requires_grad_(False)
    elif frozen_layers:
        _freeze([model.encoder.pre_encode, *model.encoder.layers[:frozen_layers]])


def check_layers(settings: ModelSettings, *, num_layers: int) -> None:
    """Raise ConfigError when all layers of the encoder, or more, are to be kept as they are."""
    if isinstance(settings.freeze, int) and settings.freeze >= num_layers:
        raise ConfigError(
            f"model.freeze: {settings.freeze}, but the encoder of {settings.base} has {num_layers} layers",
            fix=f"give at most {num_layers - 1}, or `encoder` to keep all of it",
        )


def override_spec_augment(model: Any, *, spec_augment: bool | SpecAugmentSettings) -> None:
    """Replace what blanks stripes of the spectrogram in training; true leaves the checkpoint's own.

    NeMo's own script sets `spec_augment`, which nothing reads; `forward` takes `spec_augmentation`.
    """
    if spec_augment is True:
        return
    if spec_augment is False:
        model.spec_augmentation = None
        return
    from nemo.collections.asr.modules import SpectrogramAugmentation

    model.spec_augmentation = SpectrogramAugmentation(**spec_augment.model_dump())


def _freeze(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.requires_grad_(False)
