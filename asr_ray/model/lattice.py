"""The transducer lattice of a batch, packed, and the forward-backward algorithm on it.

Utterance b with T frames and U tokens has T x (U + 1) cells. Cell (t, u) means: u tokens emitted, frame t
being read; a blank leads to (t + 1, u), token u to (t, u + 1); the path ends in (T, U). The cells of all
utterances lie one after the other, frame by frame (``offset[b] + t * (U + 1) + u``): none is padding.

Recursions: Graves, "Sequence Transduction with Recurrent Neural Networks", 2012, section 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Backend = Literal["numba", "torch"]


@dataclass(frozen=True)
class FrameBlock:
    """Frames ``first_frame:end_frame`` of one utterance with all their cells, `width` = U + 1 to a frame."""

    utterance: int
    first_frame: int
    end_frame: int
    width: int

    @property
    def num_frames(self) -> int:
        """Frames in this block."""
        return self.end_frame - self.first_frame

    @property
    def num_cells(self) -> int:
        """Lattice cells in this block."""
        return self.num_frames * self.width


@dataclass(frozen=True)
class Tile:
    """Packed cells ``start:stop``, made of whole frames; the unit in which logits are held in memory."""

    index: int
    start: int
    stop: int
    blocks: tuple[FrameBlock, ...]

    @property
    def cells(self) -> slice:
        """Where the tile lies in a tensor of packed cells."""
        return slice(self.start, self.stop)


class Occupancy(NamedTuple):
    """Result of the forward-backward algorithm.

    Attributes:
        log_likelihood: [B] log P(tokens | audio); 0 for an utterance without frames.
        blank: [cells] posterior probability that the path leaves the cell by a blank.
        label: [cells] posterior probability that the path leaves the cell by its token.
    """

    log_likelihood: Tensor
    blank: Tensor
    label: Tensor


@dataclass(frozen=True)
class PackedLattice:
    """Lengths of a batch and the layout of its cells.

    Args:
        num_frames: T of each utterance; 0 gives it no cells.
        num_tokens: U of each utterance; 0 leaves only blanks.
    """

    num_frames: tuple[int, ...]
    num_tokens: tuple[int, ...]

    @cached_property
    def cells_per_utterance(self) -> tuple[int, ...]:
        """T x (U + 1) of each utterance."""
        lengths = zip(self.num_frames, self.num_tokens, strict=True)
        return tuple(frames * (tokens + 1) for frames, tokens in lengths)

    @cached_property
    def num_cells(self) -> int:
        """Cells of the whole batch."""
        return sum(self.cells_per_utterance)

    def per_cell(self, values: Tensor) -> Tensor:
        """Repeat one value per utterance [B] over its cells: [cells]."""
        counts = torch.tensor(self.cells_per_utterance, device=values.device)
        return values.repeat_interleave(counts, output_size=self.num_cells)

    def tiles(self, max_cells: int) -> list[Tile]:
        """Cut the cells into tiles of at most `max_cells`, or of one frame where a frame alone has more."""
        groups: list[list[FrameBlock]] = []
        free_cells = 0
        for block in self._blocks(max_cells):
            if not groups or block.num_cells > free_cells:
                groups.append([])
                free_cells = max_cells
            groups[-1].append(block)
            free_cells -= block.num_cells
        stops = accumulate(sum(block.num_cells for block in blocks) for blocks in groups)
        return [
            Tile(index, stop - sum(block.num_cells for block in blocks), stop, tuple(blocks))
            for index, (blocks, stop) in enumerate(zip(groups, stops, strict=True))
        ]

    def _blocks(self, max_cells: int) -> Iterator[FrameBlock]:
        """Whole frames in packed order, each block filling what the previous ones left of a tile."""
        free_cells = max_cells
        for utterance, (frames, tokens) in enumerate(zip(self.num_frames, self.num_tokens, strict=True)):
            width, first = tokens + 1, 0
            while first < frames:
                if free_cells < width:
                    free_cells = max_cells
                end = min(frames, first + max(1, free_cells // width))
                yield FrameBlock(utterance, first, end, width)
                free_cells -= (end - first) * width
                first = end


def forward_backward(
    lattice: PackedLattice, blank_logp: Tensor, label_logp: Tensor, *, backend: Backend | None = None
) -> Occupancy:
    """Likelihoods and arc posteriors of all utterances, summed in float64.

    Args:
        lattice: layout of the cells.
        blank_logp: [cells] log-probability of the blank in each cell.
        label_logp: [cells] log-probability of the cell's token; ignored where u = U.
        backend: "numba" (tensors on the CPU only) or "torch"; by default the one that suits the device.

    Returns:
        Tensors of the dtype and device of `blank_logp`.
    """
    if lattice.num_cells == 0:
        nothing = blank_logp.new_zeros(0)
        return Occupancy(blank_logp.new_zeros(len(lattice.num_frames)), nothing, nothing)
    chosen = backend or ("numba" if blank_logp.device.type == "cpu" else "torch")
    run = _by_utterance if chosen == "numba" else _by_diagonal
    return run(lattice, blank_logp, label_logp)


def _by_utterance(lattice: PackedLattice, blank_logp: Tensor, label_logp: Tensor) -> Occupancy:
    """Compiled loop over cells; for the CPU."""
    blank, label = np.empty(lattice.num_cells), np.empty(lattice.num_cells)
    log_likelihood = np.zeros(len(lattice.num_frames))
    _compiled_kernel()(
        blank_logp.detach().double().numpy(),
        label_logp.detach().double().numpy(),
        np.asarray(lattice.num_frames, dtype=np.int64),
        np.asarray(lattice.num_tokens, dtype=np.int64),
        log_likelihood,
        blank,
        label,
    )
    return Occupancy(*(torch.from_numpy(x).to(blank_logp.dtype) for x in (log_likelihood, blank, label)))


@cache
def _compiled_kernel() -> Callable[..., None]:
    """Compile on first use: importing numba takes longer than a `--help` may."""
    import numba

    # Serial on purpose: the loop is a small part of the loss, and numba's portable thread pool aborts the
    # process when two Python threads enter it.
    kernel: Callable[..., None] = numba.njit(cache=True, nogil=True)(_forward_backward_kernel)
    return kernel


def _forward_backward_kernel(
    blank_logp: NDArray[np.float64],
    label_logp: NDArray[np.float64],
    num_frames: NDArray[np.int64],
    num_tokens: NDArray[np.int64],
    log_likelihood: NDArray[np.float64],
    blank_occupancy: NDArray[np.float64],
    label_occupancy: NDArray[np.float64],
) -> None:
    """Fill the last three arguments; plain Python that numba can compile."""
    alpha = np.empty(blank_logp.size)
    offset = 0
    for b in range(num_frames.size):
        frames, width = num_frames[b], num_tokens[b] + 1
        if frames == 0:
            continue
        for t in range(frames):
            for u in range(width):
                cell = offset + t * width + u
                by_blank = alpha[cell - width] + blank_logp[cell - width] if t > 0 else -np.inf
                by_label = alpha[cell - 1] + label_logp[cell - 1] if u > 0 else -np.inf
                alpha[cell] = np.logaddexp(by_blank, by_label) if t + u > 0 else 0.0
        end = offset + frames * width
        total = alpha[end - 1] + blank_logp[end - 1]
        log_likelihood[b] = total

        # beta holds one frame: that of t + 1 until each entry is overwritten by that of t.
        beta = np.full(width, -np.inf)
        beta[width - 1] = 0.0
        for t in range(frames - 1, -1, -1):
            for u in range(width - 1, -1, -1):
                cell = offset + t * width + u
                via_blank = blank_logp[cell] + beta[u]
                via_label = label_logp[cell] + beta[u + 1] if u + 1 < width else -np.inf
                blank_occupancy[cell] = np.exp(alpha[cell] + via_blank - total)
                label_occupancy[cell] = np.exp(alpha[cell] + via_label - total)
                beta[u] = np.logaddexp(via_blank, via_label)
        offset = end


def _by_diagonal(lattice: PackedLattice, blank_logp: Tensor, label_logp: Tensor) -> Occupancy:
    """All utterances at once, one anti-diagonal (t + u constant) per step; for GPUs, T + U small steps.

    The arcs are spread to [diagonal, B, max U + 1], where everything outside the lattice is -inf, so that
    both predecessors of a state lie on the diagonal before it and no step needs a mask.
    """
    device = blank_logp.device
    ends = [frames + tokens for frames, tokens in zip(lattice.num_frames, lattice.num_tokens, strict=True)]
    shape = (max(ends) + 1, len(ends), max(lattice.num_tokens) + 1)
    places = _places_on_diagonals(lattice, shape, device)
    blank, label = (_spread(values, places, shape) for values in (blank_logp, label_logp))

    batch = torch.arange(len(ends), device=device)
    terminal = (torch.tensor(ends, device=device), batch, torch.tensor(lattice.num_tokens, device=device))
    alpha = _sweep_forward(blank, label)
    beta = _sweep_backward(blank, label, terminal)
    has_frames = torch.tensor(lattice.num_frames, device=device) > 0
    log_likelihood = torch.where(has_frames, alpha[terminal], 0.0)

    # From here on everything is per cell again; the arc of a cell ends on the next diagonal.
    start = alpha.flatten()[places] - lattice.per_cell(log_likelihood)
    after = beta[1:].flatten()
    blank_occupancy = (start + blank_logp + after[places]).exp()
    is_last_token = places % shape[2] == lattice.per_cell(terminal[2])
    after_label = after[places + 1 - is_last_token.long()].masked_fill(is_last_token, -torch.inf)
    label_occupancy = (start + label_logp + after_label).exp()
    return Occupancy(*(x.to(blank_logp.dtype) for x in (log_likelihood, blank_occupancy, label_occupancy)))


def _places_on_diagonals(lattice: PackedLattice, shape: Sequence[int], device: torch.device) -> Tensor:
    """Index of every packed cell in the flattened [diagonal, B, max U + 1]: int64 [cells]."""
    _, batch_size, max_width = shape
    counts = torch.tensor(lattice.cells_per_utterance, device=device)
    utterance = lattice.per_cell(torch.arange(batch_size, device=device))
    width = lattice.per_cell(torch.tensor(lattice.num_tokens, device=device) + 1)
    within = torch.arange(lattice.num_cells, device=device) - lattice.per_cell(counts.cumsum(0) - counts)
    frame, token = within // width, within % width
    return ((frame + token) * batch_size + utterance) * max_width + token


def _spread(values: Tensor, places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    spread = torch.full(shape, -torch.inf, dtype=torch.float64, device=values.device)
    spread.view(-1)[places] = values.double()
    return spread


def _sweep_forward(blank: Tensor, label: Tensor) -> Tensor:
    """Log-probability of reaching each state; the states with t = T are the ends of the last blanks."""
    alpha = torch.full_like(blank, -torch.inf)
    alpha[0, :, 0] = 0.0
    for diagonal in range(1, len(alpha)):
        torch.add(alpha[diagonal - 1], blank[diagonal - 1], out=alpha[diagonal])
        by_label = alpha[diagonal - 1, :, :-1] + label[diagonal - 1, :, :-1]
        torch.logaddexp(alpha[diagonal, :, 1:], by_label, out=alpha[diagonal, :, 1:])
    return alpha


def _sweep_backward(blank: Tensor, label: Tensor, terminal: tuple[Tensor, ...]) -> Tensor:
    """Log-probability of finishing from each state."""
    beta = torch.full_like(blank, -torch.inf)
    beta[terminal] = 0.0
    for diagonal in range(len(beta) - 2, -1, -1):
        via = beta[diagonal + 1] + blank[diagonal]
        via_label = beta[diagonal + 1, :, 1:] + label[diagonal, :, :-1]
        torch.logaddexp(via[:, :-1], via_label, out=via[:, :-1])
        # A terminal state has no arcs (via is -inf there), every other state starts from -inf.
        torch.maximum(beta[diagonal], via, out=beta[diagonal])
    return beta
