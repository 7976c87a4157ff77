"""Which weights move, and how far: by part, by layer, by adapter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from asr_ray.errors import ConfigError, TrainingError
from asr_ray.model.nemo_file import load_model
from asr_ray.settings import ModelSettings, OptimSettings, RateSettings
from asr_ray.train.parts import (
    Place,
    choose_trained,
    override_spec_augment,
    parameter_groups,
    place_of,
    rate_factor,
)
from asr_ray.train.step import move_weights, optimizer_of, restore_optimizer, trained_parameters

Fresh = Callable[[], Any]


@pytest.fixture(scope="module")
def shared(micro_nemo: Path) -> Any:
    """A model that tests only look at, after setting what is trained."""
    return load_model(micro_nemo)


@pytest.fixture
def model(shared: Any) -> Any:
    shared.requires_grad_(True)
    return shared


def settings(**given: Any) -> ModelSettings:
    return ModelSettings.model_validate({"base": "micro", **given})


def moving(model: nn.Module) -> set[Place]:
    return {place_of(name) for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.encoder.pre_encode.conv.0.weight", Place("encoder", 0)),
        ("model.encoder.layers.0.norm_out.weight", Place("encoder", 1)),
        ("encoder.layers.23.self_attn.linear_q.down", Place("encoder", 24)),
        ("model.decoder.prediction.embed.weight", Place("decoder")),
        ("model.joint.enc.weight", Place("joint")),
        ("model.joint.joint_net.2.bias", Place("joint")),
        ("model.prompt_kernel.0.weight", Place("prompt")),
        ("ctc_head.weight", Place("other")),
    ],
)
def test_names_tell_places(name: str, place: Place) -> None:
    assert place_of(name) == place


@given(decay=st.floats(0.1, 1.0), encoder=st.floats(0.01, 10.0), num_layers=st.integers(1, 24))
def test_each_layer_has_its_share_of_the_one_above(decay: float, encoder: float, num_layers: int) -> None:
    rates = RateSettings(encoder=encoder, joint=2.0, layer_decay=decay)
    factors = [
        rate_factor(Place("encoder", layer), rates=rates, num_layers=num_layers)
        for layer in range(num_layers + 1)
    ]
    assert factors[-1] == encoder
    for below, above in itertools.pairwise(factors):
        assert below == pytest.approx(above * decay)
    assert rate_factor(Place("joint"), rates=rates, num_layers=num_layers) == 2.0
    assert rate_factor(Place("other"), rates=rates, num_layers=num_layers) == 1.0


def test_every_weight_that_moves_is_in_one_group(model: Any) -> None:
    choose_trained(model, settings=settings(freeze=1), seed=1)
    groups = parameter_groups(model, rates=RateSettings(decoder=3.0, layer_decay=0.5))
    grouped = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in trained_parameters(model))
    assert sorted(group["lr_factor"] for group in groups) == [1.0, 1.0, 1.0, 3.0]


ALL = {Place("encoder", layer) for layer in range(3)} | {Place(p) for p in ("decoder", "joint", "prompt")}


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ({"freeze": "none"}, set()),
        ({"freeze": 1}, {Place("encoder", 0), Place("encoder", 1)}),
        ({"freeze": "encoder"}, {Place("encoder", layer) for layer in range(3)}),
    ],
)
def test_freezing(model: Any, given: dict[str, Any], stays: set[Place]) -> None:
    choose_trained(model, settings=settings(**given), seed=1)
    assert moving(model) == ALL - stays


def test_at_least_one_layer_must_be_left(model: Any) -> None:
    with pytest.raises(ConfigError, match="2, but the encoder of micro has 2 layers"):
        choose_trained(model, settings=settings(freeze=2), seed=1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ALL - {Place("encoder", 0)}),
        ({"freeze": 1}, ALL - {Place("encoder", 0), Place("encoder", 1)}),
        ({"lora": {"adapters_only": True}}, {Place("encoder", 1), Place("encoder", 2)}),
    ],
)
def test_adapters_take_the_place_of_the_encoders_weights(
    micro_nemo: Path, given: dict[str, Any], expected: set[Place]
) -> None:
    fresh = load_model(micro_nemo)
    choose_trained(fresh, settings=settings(**{"lora": {}, **given}), seed=1)
    assert moving(fresh) == expected
    in_encoder = [n for n, weight in fresh.encoder.named_parameters() if weight.requires_grad]
    assert all(name.endswith((".down", ".up")) for name in in_encoder)


def test_factors_scale_the_step_of_each_part(micro_nemo: Path) -> None:
    # The first step of Adam is the rate, wherever there is a gradient at all.
    fresh = load_model(micro_nemo)
    optim = OptimSettings.model_validate({"rates": {"encoder": 0.5, "joint": 2.0}, "weight_decay": 0})
    before = {name: weight.detach().clone() for name, weight in fresh.named_parameters()}
    for weight in fresh.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer = optimizer_of(fresh, optim=optim)
    move_weights(optimizer, parameters=trained_parameters(fresh), scale=1.0, rate=1e-2, clip_norm=1e9)
    moved = {
        place_of(name).part: float((before[name] - weight).abs().max())
        for name, weight in fresh.named_parameters()
    }
    expected = {"encoder": 5e-3, "decoder": 1e-2, "joint": 2e-2, "prompt": 1e-2}
    assert moved == pytest.approx(expected, rel=1e-3)


def stepped(layer: nn.Module, *, rates: RateSettings) -> torch.optim.Optimizer:
    optimizer = optimizer_of(layer, optim=OptimSettings(rates=rates))
    for weight in layer.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return optimizer


def test_a_resumed_run_keeps_its_moments_and_takes_its_rates_from_the_configuration() -> None:
    layer = nn.ModuleDict({"joint": nn.Linear(2, 2)})
    saved = stepped(layer, rates=RateSettings()).state_dict()
    again = optimizer_of(layer, optim=OptimSettings(rates=RateSettings(joint=0.1), weight_decay=0.5))
    restore_optimizer(again, saved)

    (group,) = again.param_groups
    assert (group["lr_factor"], group["weight_decay"]) == (0.1, 0.5)
    moments = again.state[layer["joint"].weight]
    assert torch.equal(moments["exp_avg"], saved["state"][0]["exp_avg"])
    assert float(moments["step"]) == 1


def test_moments_of_other_weights_are_refused() -> None:
    saved = stepped(nn.ModuleDict({"joint": nn.Linear(2, 2)}), rates=RateSettings()).state_dict()
    other = optimizer_of(nn.ModuleDict({"joint": nn.Linear(2, 2, bias=False)}), optim=OptimSettings())
    with pytest.raises(TrainingError, match="other weights"):
        restore_optimizer(other, saved)


def blanked_share(model: Any, *, seconds: float = 4.0) -> float:
    """Share of a spectrogram without zeros that is zero where the encoder reads it."""
    from asr_ray.model.objective import TransducerObjective

    seen: list[torch.Tensor] = []
    handle = model.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["audio_signal"]), with_kwargs=True
    )
    audio = (torch.randn(2, int(16_000 * seconds), generator=torch.Generator().manual_seed(1)) * 3000).short()
    torch.manual_seed(0)
    objective = TransducerObjective(model).train()
    objective(
        audio,
        num_samples=torch.tensor([audio.shape[1]] * 2),
        tokens=torch.ones(2, 3, dtype=torch.long),
        num_tokens=torch.tensor([3, 3]),
        prompt_slots=torch.tensor([0, 0]),
    )
    handle.remove()
    return float((seen[0][:, :, :-1] == 0).float().mean())


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        (True, 0.0, 0.0),
        (False, 0.0, 0.0),
        ({"freq_masks": 1, "freq_width": 20, "time_masks": 0}, 0.001, 0.3),
        ({"freq_masks": 0, "time_masks": 10, "time_width": 100}, 0.5, 1.0),
    ],
)
def test_the_override_of_spec_augment_reaches_the_encoder(
    model: Any, given: Any, low: float, high: float
) -> None:
    override_spec_augment(model, spec_augment=settings(spec_augment=given).spec_augment)
    assert low <= blanked_share(model) <= high
    model.eval()
    model.spec_augmentation = None
