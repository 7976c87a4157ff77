"""The parts of a step that the loop and the calibration share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asr_ray.settings import OptimSettings
from asr_ray.train.step import move_weights, optimizer_of, trained_parameters


def layer_with(gradient: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.grad = torch.full_like(layer.weight, gradient)
    return layer


@pytest.mark.parametrize(("rate", "moved"), [(0.1, True), (0.0, False)])
def test_the_rate_decides_how_far_weights_move(rate: float, moved: bool) -> None:
    layer = layer_with(2.0)
    before = layer.weight.detach().clone()
    parameters = trained_parameters(layer)

    optimizer = optimizer_of(layer, optim=OptimSettings())
    finite = move_weights(optimizer, parameters=parameters, scale=0.5, rate=rate, clip_norm=1.0)

    assert finite
    assert torch.equal(before, layer.weight) is not moved
    assert layer.weight.grad is None


def test_gradients_that_are_no_numbers_move_nothing() -> None:
    layer = layer_with(float("nan"))
    before = layer.weight.detach().clone()
    parameters = trained_parameters(layer)

    optimizer = optimizer_of(layer, optim=OptimSettings())

    assert not move_weights(optimizer, parameters=parameters, scale=1.0, rate=0.1, clip_norm=1.0)
    assert torch.equal(before, layer.weight)
    assert layer.weight.grad is None


def test_frozen_weights_are_not_trained() -> None:
    both = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    both[0].requires_grad_(False)
    assert trained_parameters(both) == list(both[1].parameters())
