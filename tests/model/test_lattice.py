"""Packed lattices: tiles, and the two implementations of the forward-backward algorithm."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.model.lattice import Backend, PackedLattice, forward_backward

Lengths = list[tuple[int, int]]


def lengths_of_batches(max_frames: int, max_tokens: int) -> st.SearchStrategy[Lengths]:
    """(frames, tokens) of each utterance; either may be 0."""
    one = st.tuples(st.integers(0, max_frames), st.integers(0, max_tokens))
    return st.lists(one, min_size=1, max_size=8)


def lattice_of(lengths: Lengths) -> PackedLattice:
    return PackedLattice(tuple(f for f, _ in lengths), tuple(t for _, t in lengths))


@settings(max_examples=60)
@given(lengths=lengths_of_batches(9, 7), seed=st.integers(0, 2**31))
def test_backends_agree(lengths: Lengths, seed: int) -> None:
    lattice = lattice_of(lengths)
    generator = torch.Generator().manual_seed(seed)
    arcs = -torch.rand(2, lattice.num_cells, generator=generator, dtype=torch.float64) * 5
    compiled, diagonal = (
        forward_backward(lattice, arcs[0], arcs[1], backend=backend) for backend in ("numba", "torch")
    )
    for name, ours, theirs in zip(compiled._fields, compiled, diagonal, strict=True):
        torch.testing.assert_close(ours, theirs, msg=f"{name} differs")


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_occupancies_count_arcs(backend: Backend) -> None:
    """Every path takes exactly T blanks and U tokens."""
    lattice = PackedLattice((4, 1, 6), (2, 3, 0))
    arcs = torch.log_softmax(torch.randn(3, lattice.num_cells, generator=torch.Generator().manual_seed(0)), 0)
    result = forward_backward(lattice, arcs[0], arcs[1], backend=backend)
    cells = lattice.cells_per_utterance
    assert [round(float(part.sum()), 4) for part in result.blank.split(cells)] == [4, 1, 6]
    assert [round(float(part.sum()), 4) for part in result.label.split(cells)] == [2, 3, 0]


@given(lengths=lengths_of_batches(30, 12), max_cells=st.integers(1, 80))
def test_tiles_cover_the_lattice_in_whole_frames(lengths: Lengths, max_cells: int) -> None:
    lattice = lattice_of(lengths)
    tiles = lattice.tiles(max_cells)
    stops = [tile.stop for tile in tiles]
    assert [tile.start for tile in tiles] == [0, *stops[:-1]][: len(tiles)]
    assert sum(tile.stop - tile.start for tile in tiles) == lattice.num_cells
    frames = [
        (block.utterance, frame)
        for tile in tiles
        for block in tile.blocks
        for frame in range(block.first_frame, block.end_frame)
    ]
    assert frames == [(b, t) for b, (num_frames, _) in enumerate(lengths) for t in range(num_frames)]
    for tile in tiles:
        cells = sum(block.num_cells for block in tile.blocks)
        assert cells == tile.stop - tile.start
        assert cells <= max_cells or (len(tile.blocks) == 1 and tile.blocks[0].num_frames == 1)
