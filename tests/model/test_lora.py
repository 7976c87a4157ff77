"""Adapters: nothing at first, the same after merging, and what is saved is a model like any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from asr_ray.model.lora import LoraLinear, add_lora, merge_lora
from asr_ray.model.nemo_file import load_model, save_model
from asr_ray.settings import LoraSettings

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


def adapted(
    *, inputs: int = 5, outputs: int = 3, rank: int = 2, alpha: float = 4.0, bias: bool = True, seed: int = 0
) -> LoraLinear:
    generator = torch.Generator().manual_seed(seed)
    return LoraLinear(nn.Linear(inputs, outputs, bias=bias), rank=rank, alpha=alpha, generator=generator)


def train(layers: nn.Module) -> None:
    """Give every correction something to say."""
    generator = torch.Generator().manual_seed(7)
    for module in layers.modules():
        if isinstance(module, LoraLinear):
            module.up.data = torch.randn(module.up.shape, generator=generator) * 0.1


# The first call of all imports half of torch.
@given(
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 6),
    rank=st.integers(1, 4),
    alpha=st.floats(0.5, 64),
    bias=st.booleans(),
)
def test_merged_is_what_the_adapter_computed(
    inputs: int, outputs: int, rank: int, alpha: float, bias: bool
) -> None:
    layer = adapted(inputs=inputs, outputs=outputs, rank=rank, alpha=alpha, bias=bias)
    signal = torch.randn(2, 4, inputs)
    plain = nn.functional.linear(signal, layer.weight, layer.bias)
    torch.testing.assert_close(layer(signal), plain, rtol=0, atol=0)

    train(layer)
    by_hand = plain + alpha / rank * signal @ (layer.up @ layer.down).T
    corrected = layer(signal)
    torch.testing.assert_close(corrected, by_hand, rtol=1e-4, atol=1e-4)
    merged = layer.merged()
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged(signal), corrected, rtol=1e-4, atol=1e-4)


def test_only_the_correction_learns() -> None:
    layer = adapted()
    layer(torch.randn(4, 5)).square().sum().backward()
    learning = {name for name, weight in layer.named_parameters() if weight.grad is not None}
    assert learning == {"down", "up"}


def test_equal_seeds_start_equally() -> None:
    assert torch.equal(adapted(seed=1).down, adapted(seed=1).down)
    assert not torch.equal(adapted(seed=1).down, adapted(seed=2).down)


@pytest.fixture
def model(micro_nemo: Path) -> EncDecRNNTBPEModelWithPrompt:
    return load_model(micro_nemo)


def encoded(model: EncDecRNNTBPEModelWithPrompt) -> Tensor:
    """Encoder frames of a second of noise, [1, D, T]."""
    noise = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(3))
    model.eval()
    with torch.inference_mode():
        features, lengths = model.preprocessor(input_signal=noise, length=torch.tensor([16_000]))
        frames: Tensor = model.encoder(audio_signal=features, length=lengths)[0].clone()
    return frames


@pytest.mark.parametrize(
    ("targets", "first_layer", "per_layer"),
    [(["attention"], 0, 5), (["feed_forward"], 0, 4), (["attention", "feed_forward"], 1, 9)],
)
def test_the_asked_for_layers_are_corrected(
    model: EncDecRNNTBPEModelWithPrompt, targets: list[str], first_layer: int, per_layer: int
) -> None:
    lora = LoraSettings.model_validate({"rank": 2, "targets": targets})
    before = encoded(model)
    count = add_lora(model, lora=lora, first_layer=first_layer, seed=1)

    assert count == per_layer * (len(model.encoder.layers) - first_layer)
    assert torch.equal(encoded(model), before)
    moving = [name for name, weight in model.encoder.named_parameters() if weight.requires_grad]
    assert len(moving) == 2 * count
    assert {name.rpartition(".")[2] for name in moving} == {"down", "up"}
    assert min(int(name.split(".")[1]) for name in moving) == first_layer


def test_stock_nemo_restores_a_tuned_model_without_a_trace_of_adapters(
    model: EncDecRNNTBPEModelWithPrompt, tmp_path: Path
) -> None:
    from nemo.collections.asr.models import ASRModel

    base = {name: weight.clone() for name, weight in model.state_dict().items()}
    untouched = encoded(model)
    count = add_lora(model, lora=LoraSettings(rank=2), seed=1)
    train(model)
    tuned = encoded(model)
    assert not torch.allclose(tuned, untouched, atol=1e-3)

    assert merge_lora(model) == count
    path = save_model(model, tmp_path / "tuned.nemo")
    restored = ASRModel.restore_from(str(path), map_location=torch.device("cpu"), strict=True)

    assert type(restored) is type(model)
    assert restored.state_dict().keys() == base.keys()
    torch.testing.assert_close(encoded(restored), tuned, rtol=1e-4, atol=1e-4)
    changed = {name for name, weight in restored.state_dict().items() if not torch.equal(weight, base[name])}
    assert len(changed) == count
    assert all(name.startswith("encoder.layers.") and name.endswith(".weight") for name in changed)
    assert merge_lora(model) == 0
