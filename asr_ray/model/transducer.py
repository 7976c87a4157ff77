"""The transducer (RNNT) loss without the B x T x U x V tensor.

A joint over a vocabulary of 13,088 pieces makes the logits of the lattice the memory limit of training.
Here the output layer of the joint belongs to the loss: lattice cells are packed (no padding), logits exist
for one tile of cells at a time, only the log-probabilities of blank and token are kept, and the backward pass
computes each tile again, for those cells that some path visits with a probability above rounding. Memory
beyond the inputs is O(cells) plus one tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr_ray.errors import ConfigError, DataError
from asr_ray.model.lattice import PackedLattice, Tile, forward_backward

Activation = Literal["relu", "tanh", "sigmoid"]

DEFAULT_TILE_CELLS = 2048
"""Cells per tile: 107 MB of float32 logits at a vocabulary of 13,088."""


def transducer_loss(  # noqa: PLR0913 - the tensors of one batch and one joint
    encoded: Tensor,
    predicted: Tensor,
    *,
    output_weight: Tensor,
    output_bias: Tensor,
    tokens: Tensor,
    num_frames: Tensor,
    num_tokens: Tensor,
    blank: int,
    activation: Activation = "relu",
    dropout: float = 0.0,
    fastemit_lambda: float = 0.0,
    tile_cells: int = DEFAULT_TILE_CELLS,
) -> Tensor:
    """Negative log-likelihood of each utterance's tokens under joint(encoded, predicted).

    The logits of cell (t, u) are

        dropout(activation(encoded[t] + predicted[u])) @ output_weight.T + output_bias

    computed in the dtype of `encoded` (under autocast: in the autocast dtype), with log-softmax in float32.
    All four are differentiable, once.

    An utterance with T = 0 has no path; its loss is 0 and so is its gradient. Count such utterances before
    averaging. U = 0 and T < U are ordinary cases. Padding in `encoded`, `predicted`, `tokens` is never read.

    Args:
        encoded: [B, T, H] encoder frames projected into the joint space.
        predicted: [B, U + 1, H] prediction network states projected into the joint space.
        output_weight: [V + 1, H] last linear layer of the joint.
        output_bias: [V + 1].
        tokens: int64 [B, U].
        num_frames: int64 [B], each in 0..T.
        num_tokens: int64 [B], each in 0..U.
        blank: index of the blank among the V + 1 outputs.
        activation: nonlinearity of the joint.
        dropout: probability of zeroing an element after the activation; 0 when evaluating. The mask depends
            on the CPU random state and on `tile_cells`.
        fastemit_lambda: FastEmit (Yu et al., 2021, arXiv 2010.11148): gradients of token emissions are
            multiplied by 1 + lambda. As in NeMo's kernels the reported loss is multiplied too.
        tile_cells: lattice cells per tile; memory grows with it, results without dropout do not depend on it.
            A tile holds at least one whole frame, that is U + 1 cells.

    Returns:
        [B] losses in float32 (float64 for float64 input).

    Raises:
        ConfigError: shapes that do not fit together, or options out of range.
        DataError: lengths or tokens out of range.
    """
    _check_options(activation, dropout, fastemit_lambda, tile_cells)
    _check_shapes(encoded, predicted, output_weight, output_bias, tokens, num_frames, num_tokens, blank)
    lattice = _lattice(num_frames, num_tokens, encoded.shape[1], tokens.shape[1])
    spec = _Spec(
        lattice=lattice,
        tiles=tuple(lattice.tiles(tile_cells)),
        labels=_labels(tokens, num_tokens, blank, len(output_bias)).to(encoded.device),
        blank=blank,
        activation=activation,
        dropout=dropout,
        # The forward and the backward pass draw the same masks from it, tile by tile.
        seed=int(torch.randint(2**62, ())) if dropout else 0,
        fastemit_lambda=fastemit_lambda,
        dtype=_compute_dtype(encoded),
    )
    losses: Tensor = _TransducerLoss.apply(encoded, predicted, output_weight, output_bias, spec)
    return losses


@dataclass(frozen=True)
class _Spec:
    """What the loss needs besides the four differentiable tensors."""

    lattice: PackedLattice
    tiles: tuple[Tile, ...]
    labels: Tensor  # [B, U + 1] the token of each lattice column; blank where there is none
    blank: int
    activation: Activation
    dropout: float
    seed: int
    fastemit_lambda: float
    dtype: torch.dtype

    @property
    def statistics_dtype(self) -> torch.dtype:
        """Dtype of log-softmax, occupancies and gradient sums."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32


class _Hidden(NamedTuple):
    """Joint activations of one tile, [cells, H]: before dropout, the dropout factors, after dropout."""

    activated: Tensor
    keep: Tensor | None
    output: Tensor

    def at(self, cells: Tensor) -> _Hidden:
        """The same for some of the tile's cells."""
        activated = self.activated[cells]
        if self.keep is None:
            return _Hidden(activated, None, activated)
        return _Hidden(activated, self.keep[cells], self.output[cells])


class _Joint:
    """The joint network evaluated tile by tile."""

    def __init__(self, inputs: Sequence[Tensor], spec: _Spec) -> None:
        self.spec = spec
        self.encoded, self.predicted, self.weight, self.bias = (x.detach().to(spec.dtype) for x in inputs)

    def hidden(self, tile: Tile) -> _Hidden:
        activated = self._activate(self._pre_activation(tile))
        if not self.spec.dropout:
            return _Hidden(activated, None, activated)
        generator = torch.Generator(activated.device).manual_seed(self.spec.seed + tile.index)
        keep = torch.empty_like(activated).bernoulli_(1 - self.spec.dropout, generator=generator)
        keep /= 1 - self.spec.dropout
        return _Hidden(activated, keep, activated * keep)

    def logits(self, hidden: Tensor) -> Tensor:
        return torch.addmm(self.bias, hidden, self.weight.T)

    def labels(self, tile: Tile) -> Tensor:
        """Output index of each cell's token: int64 [cells, 1]."""
        labels = self.spec.labels
        rows = [labels[block.utterance, : block.width].repeat(block.num_frames) for block in tile.blocks]
        return torch.cat(rows).unsqueeze(1)

    def gradient_before_activation(self, hidden: _Hidden, gradient: Tensor) -> Tensor:
        if hidden.keep is not None:
            gradient = gradient * hidden.keep
        match self.spec.activation:
            case "relu":
                return gradient * (hidden.activated > 0)
            case "tanh":
                return gradient * (1 - hidden.activated.square())
            case "sigmoid":
                return gradient * hidden.activated * (1 - hidden.activated)

    def _pre_activation(self, tile: Tile) -> Tensor:
        total = self.encoded.new_empty(tile.stop - tile.start, self.encoded.shape[2])
        first = 0
        for block in tile.blocks:
            cells = total[first : first + block.num_cells].view(block.num_frames, block.width, -1)
            frames = self.encoded[block.utterance, block.first_frame : block.end_frame, None]
            torch.add(frames, self.predicted[block.utterance, None, : block.width], out=cells)
            first += block.num_cells
        return total

    def _activate(self, total: Tensor) -> Tensor:
        match self.spec.activation:
            case "relu":
                return total.relu_()
            case "tanh":
                return total.tanh_()
            case "sigmoid":
                return total.sigmoid_()


class _TransducerLoss(torch.autograd.Function):
    """Forward: log-probabilities tile by tile, then the lattice. Backward: the tiles again."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *inputs, spec = arguments
        with torch.autocast(inputs[0].device.type, enabled=False):
            blank_logp, label_logp = _arc_log_probabilities(_Joint(inputs, spec))
        occupancy = forward_backward(spec.lattice, blank_logp, label_logp)
        ctx.spec = spec
        ctx.save_for_backward(*inputs, blank_logp, label_logp, occupancy.blank, occupancy.label)
        losses: Tensor = -(1 + spec.fastemit_lambda) * occupancy.log_likelihood
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, blank_logp, label_logp, blank_occupancy, label_occupancy = ctx.saved_tensors
        spec: _Spec = ctx.spec
        visited = _visited(blank_occupancy + label_occupancy)
        weight = spec.lattice.per_cell(output_gradients[0])
        label_weight = weight * (1 + spec.fastemit_lambda)
        cells = _CellGradients.of(
            blank_logp, label_logp, weight * blank_occupancy, label_weight * label_occupancy
        )
        sums = _GradientSums(inputs, spec, ctx.needs_input_grad)
        with torch.autocast(inputs[0].device.type, enabled=False):
            joint = _Joint(inputs, spec)
            for tile in spec.tiles:
                active = visited[tile.cells].nonzero().squeeze(1)
                hidden = joint.hidden(tile).at(active)
                gradient = joint.logits(hidden.output).softmax(1)
                labels = joint.labels(tile)[active]
                cells.at(tile, active).turn_to_gradient(gradient, blank=spec.blank, labels=labels)
                sums.add(joint, tile, active, hidden, gradient)
        return (*sums.results(inputs), None)


def _arc_log_probabilities(joint: _Joint) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the blank and of the token in each cell: [cells] each."""
    spec = joint.spec
    shape = (2, spec.lattice.num_cells)
    blank, label = torch.empty(shape, dtype=spec.statistics_dtype, device=joint.encoded.device)
    for tile in spec.tiles:
        logits = joint.logits(joint.hidden(tile).output)
        log_probs = logits.log_softmax(1, dtype=spec.statistics_dtype)
        blank[tile.cells] = log_probs[:, spec.blank]
        label[tile.cells] = log_probs.gather(1, joint.labels(tile)).squeeze(1)
    return blank, label


class _CellGradients(NamedTuple):
    """The gradient in the logits, [cells] each: occupancy x softmax, except at blank and token."""

    occupancy: Tensor
    at_blank: Tensor
    at_label: Tensor

    @classmethod
    def of(
        cls, blank_logp: Tensor, label_logp: Tensor, blank_occupancy: Tensor, label_occupancy: Tensor
    ) -> _CellGradients:
        occupancy = blank_occupancy + label_occupancy
        return cls(
            occupancy,
            at_blank=occupancy * blank_logp.exp() - blank_occupancy,
            at_label=occupancy * label_logp.exp() - label_occupancy,
        )

    def at(self, tile: Tile, active: Tensor) -> _CellGradients:
        """The same for some cells of a tile."""
        return _CellGradients(*(x[tile.cells][active] for x in self))

    def turn_to_gradient(self, softmax: Tensor, *, blank: int, labels: Tensor) -> None:
        """Turn the softmax of these cells, [cells, V + 1], into the gradient of the loss in their logits.

        The two entries where probability and posterior cancel come from float32; a difference taken in
        bfloat16 would lose them. The blank comes last: cells without a token carry its index as their label.
        """
        occupancy, at_blank, at_label = (x.to(softmax.dtype) for x in self)
        softmax.mul_(occupancy.unsqueeze(1))
        softmax.scatter_(1, labels, at_label.unsqueeze(1))
        softmax[:, blank] = at_blank


def _visited(occupancy: Tensor) -> Tensor:
    """Cells whose gradient is worth a matrix product: bool [cells].

    Most cells lie far from every likely path. Left in, their gradients cost three products and are denormal
    numbers, which CPUs multiply several times slower. NaN counts as visited, so that the caller sees it.
    """
    return ~(occupancy < torch.finfo(occupancy.dtype).eps ** 2)


class _GradientSums:
    """Gradients of the four inputs, summed over tiles in float32; only of those that need one."""

    def __init__(self, inputs: Sequence[Tensor], spec: _Spec, needed: Sequence[bool]) -> None:
        self.encoded, self.predicted, self.weight, self.bias = (
            torch.zeros(x.shape, dtype=spec.statistics_dtype, device=x.device) if need else None
            for x, need in zip(inputs, needed, strict=False)
        )

    def add(self, joint: _Joint, tile: Tile, active: Tensor, hidden: _Hidden, logit_gradient: Tensor) -> None:
        """Add the `active` cells of a tile."""
        if self.bias is not None:
            self.bias += logit_gradient.sum(0)
        if self.weight is not None:
            self.weight += logit_gradient.T @ hidden.output
        if self.encoded is not None or self.predicted is not None:
            gradient = joint.gradient_before_activation(hidden, logit_gradient @ joint.weight)
            whole = gradient.new_zeros(tile.stop - tile.start, gradient.shape[1])
            self._add_inputs(tile, whole.index_copy_(0, active, gradient))

    def results(self, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        sums = (self.encoded, self.predicted, self.weight, self.bias)
        return tuple(None if s is None else s.to(x.dtype) for s, x in zip(sums, inputs, strict=True))

    def _add_inputs(self, tile: Tile, gradient: Tensor) -> None:
        first = 0
        for block in tile.blocks:
            grid = gradient[first : first + block.num_cells].view(block.num_frames, block.width, -1)
            first += block.num_cells
            if self.encoded is not None:
                self.encoded[block.utterance, block.first_frame : block.end_frame] += grid.sum(1)
            if self.predicted is not None:
                self.predicted[block.utterance, : block.width] += grid.sum(0)


def _compute_dtype(encoded: Tensor) -> torch.dtype:
    device = encoded.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else encoded.dtype


def _labels(tokens: Tensor, num_tokens: Tensor, blank: int, num_outputs: int) -> Tensor:
    """[B, U + 1] tokens with everything past each length replaced by `blank`."""
    is_token = torch.arange(tokens.shape[1], device=tokens.device) < num_tokens.to(tokens.device).unsqueeze(1)
    invalid = is_token & ((tokens < 0) | (tokens >= num_outputs) | (tokens == blank))
    if invalid.any():
        utterance, position = invalid.nonzero()[0].tolist()
        raise DataError(
            f"token {int(tokens[utterance, position])} at position {position} of utterance {utterance} of the"
            f" batch is not one of the pieces: outputs are 0..{num_outputs - 1}, the blank is {blank}",
            fix="tokenise with the tokenizer of the model that is being trained",
        )
    labels = tokens.long().masked_fill(~is_token, blank)
    return torch.nn.functional.pad(labels, (0, 1), value=blank)


def _lattice(num_frames: Tensor, num_tokens: Tensor, max_frames: int, max_tokens: int) -> PackedLattice:
    lengths = torch.stack((num_frames, num_tokens.to(num_frames.device))).tolist()
    for name, values, limit in zip(
        ("num_frames", "num_tokens"), lengths, (max_frames, max_tokens), strict=True
    ):
        for utterance, value in enumerate(values):
            if not 0 <= value <= limit:
                raise DataError(
                    f"{name} of utterance {utterance} of the batch is {value}, but the tensors hold {limit}",
                    fix=f"pass {name} of the padded batch it belongs to",
                )
    return PackedLattice(num_frames=tuple(lengths[0]), num_tokens=tuple(lengths[1]))


def _check_options(activation: str, dropout: float, fastemit_lambda: float, tile_cells: int) -> None:
    if activation not in get_args(Activation):
        raise ConfigError(f"unknown joint activation {activation!r}", fix="use relu, tanh or sigmoid")
    if not 0 <= dropout < 1:
        raise ConfigError(f"joint dropout is {dropout}", fix="use a probability in [0, 1)")
    if fastemit_lambda < 0:
        raise ConfigError(
            f"fastemit_lambda is {fastemit_lambda}", fix="use 0 (off) or a small positive number"
        )
    if tile_cells < 1:
        raise ConfigError(f"tile_cells is {tile_cells}", fix="use a positive number of lattice cells")


def _check_shapes(
    encoded: Tensor,
    predicted: Tensor,
    output_weight: Tensor,
    output_bias: Tensor,
    tokens: Tensor,
    num_frames: Tensor,
    num_tokens: Tensor,
    blank: int,
) -> None:
    """The seven tensors agree in batch size, joint width and number of outputs."""
    if encoded.dim() != 3 or tokens.dim() != 2 or output_weight.dim() != 2:
        got = f"{tuple(encoded.shape)}, {tuple(tokens.shape)}, {tuple(output_weight.shape)}"
        raise ConfigError(
            f"encoded, tokens and output_weight have the shapes {got}",
            fix="pass [B, T, H], [B, U] and [V + 1, H]",
        )
    (batch_size, _, width), num_outputs = encoded.shape, len(output_weight)
    expected = {
        "predicted": (predicted, (batch_size, tokens.shape[1] + 1, width)),
        "output_weight": (output_weight, (num_outputs, width)),
        "output_bias": (output_bias, (num_outputs,)),
        "tokens": (tokens, (batch_size, tokens.shape[1])),
        "num_frames": (num_frames, (batch_size,)),
        "num_tokens": (num_tokens, (batch_size,)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ConfigError(
                f"{name} has the shape {tuple(tensor.shape)}; encoded, tokens and output_weight need {shape}",
                fix="pass tensors of one batch and one joint network",
            )
    if not 0 <= blank < num_outputs:
        raise ConfigError(f"blank is output {blank} of {num_outputs}", fix="use its index, V in NeMo")
