"""Attention contexts: how much of the past and of the future an encoder frame sees, and what that costs.

A context is (left, right) in encoder frames of 80 ms. Frames are computed in chunks of 1 + right; a chunk
sees itself and `left` frames before it, so the first frame of a chunk waits for all the others.
"""

from __future__ import annotations

AttContextSize = tuple[int, int]
"""Left and right attention context in encoder frames of 80 ms; a chunk has 1 + right of them."""

FRAME_MS = 80

RELEASED_CONTEXTS: tuple[AttContextSize, ...] = ((56, 0), (56, 1), (56, 3), (56, 6), (56, 13))
"""Contexts that the model card of the released model scores, by rising latency."""


def has_whole_chunks(context: AttContextSize) -> bool:
    """Return whether the left context is a number of whole chunks, as caches and the chunk mask need it."""
    left, right = context
    return right >= 0 and left >= 0 and left % (right + 1) == 0


def chunk_ms(context: AttContextSize) -> int:
    """Return how many milliseconds of audio a chunk holds: what its first frame waits at most."""
    return FRAME_MS * (context[1] + 1)
