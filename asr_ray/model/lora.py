"""Low-rank adapters on the encoder's linear layers (LoRA, arXiv:2106.09685), and back to a plain model.

A layer y = Wx + b becomes y = Wx + b + (alpha / rank) * up(down(x)), with W and b kept as they are. `up`
starts at zero, so an untrained adapter changes nothing. The weights of the base keep their names in the
state dictionary; after `merge_lora` nothing tells the model from one that was tuned as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from asr_ray.settings.model import LoraSettings

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

Target = Literal["attention", "feed_forward"]

LAYERS_OF: dict[Target, frozenset[str]] = {
    "attention": frozenset({"linear_q", "linear_k", "linear_v", "linear_out", "linear_pos"}),
    "feed_forward": frozenset({"linear1", "linear2"}),
}
"""NeMo's names of the linear layers in a Conformer block."""


class LoraLinear(nn.Linear):
    """A linear layer with a trainable correction of low rank.

    Args:
        linear: the layer to correct; its tensors are shared and frozen.
        rank: of the correction.
        alpha: the correction is multiplied by alpha / rank.
        generator: draws the start of `down`.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.requires_grad_(False)
        self.scaling = alpha / rank
        down = torch.empty(rank, linear.in_features)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.down = nn.Parameter(down.to(linear.weight))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, input: Tensor) -> Tensor:
        """Return [..., out_features] of [..., in_features]."""
        correction = nn.functional.linear(nn.functional.linear(input, self.down), self.up)
        return super().forward(input) + self.scaling * correction

    def merged(self) -> nn.Linear:
        """Return a plain layer whose weight holds the correction; the shared tensor is changed in place."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        with torch.no_grad():
            # In double precision: merging is done once, and a model in use is compared with the merged one.
            correction = self.scaling * (self.up.double() @ self.down.double())
            self.weight.copy_(self.weight.double() + correction)
        plain.weight, plain.bias = self.weight, self.bias
        return plain


def add_lora(
    model: EncDecRNNTBPEModelWithPrompt, *, lora: LoraSettings, first_layer: int = 0, seed: int
) -> int:
    """Freeze the encoder and correct the linear layers of its blocks; return how many were.

    Args:
        first_layer: blocks below it get no correction.
        seed: of the start of the adapters, equal on all ranks.
    """
    generator = torch.Generator().manual_seed(seed)
    model.encoder.requires_grad_(False)
    found = [place for layer in model.encoder.layers[first_layer:] for place in _places(layer, lora.targets)]
    for parent, name in found:
        linear = getattr(parent, name)
        setattr(parent, name, LoraLinear(linear, rank=lora.rank, alpha=lora.alpha, generator=generator))
    return len(found)


def merge_lora(model: nn.Module) -> int:
    """Put every correction into the weight it corrects; return how many there were."""
    corrected = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, LoraLinear)
    ]
    for parent, name, child in corrected:
        setattr(parent, name, child.merged())
    return len(corrected)


def _places(layer: nn.Module, targets: Sequence[Target]) -> Iterator[tuple[nn.Module, str]]:
    """(module, attribute) of each linear layer that is to be corrected."""
    names = frozenset().union(*(LAYERS_OF[target] for target in targets))
    for parent in layer.modules():
        for name, child in parent.named_children():
            if name in names and isinstance(child, nn.Linear):
                yield parent, name
