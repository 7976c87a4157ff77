"""Chunks of the released contexts, as the model card lists them."""

from __future__ import annotations

import pytest

from asr_ray.contexts import RELEASED_CONTEXTS, chunk_ms, has_whole_chunks


def test_latencies_of_the_model_card() -> None:
    assert [chunk_ms(context) for context in RELEASED_CONTEXTS] == [80, 160, 320, 560, 1120]
    assert all(map(has_whole_chunks, RELEASED_CONTEXTS))


@pytest.mark.parametrize("context", [(56, 2), (56, -1), (-1, 3), (55, 1)])
def test_a_left_context_ends_where_a_chunk_begins(context: tuple[int, int]) -> None:
    assert not has_whole_chunks(context)
