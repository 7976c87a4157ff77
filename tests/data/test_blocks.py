"""A batch survives its way through Ray Data as one Arrow row; the ranks notice when the order is lost."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.data import DataIterator

from asr_ray.data.augment.speed import Draws
from asr_ray.data.blocks import (
    batch_from_row,
    decode_position,
    encode_position,
    part_from_row,
    row_of_batch,
    row_of_part,
)
from asr_ray.data.feed import RankFeed
from asr_ray.data.read import RowAddress
from asr_ray.data.recipe import BatchRecipe
from asr_ray.errors import DataError, TrainingError
from asr_ray.records import Batch, Position

small = st.integers(0, 99)
pairs = st.lists(st.tuples(small, small), max_size=3).map(tuple)
mixes = st.lists(st.tuples(small, st.text(max_size=3)), max_size=3).map(tuple)
positions = st.builds(Position, small, small, small, pairs, mixes)
ARRAYS = ("audio", "num_samples", "tokens", "num_tokens", "prompt_slots", "durations_s")


def batch_of(size: int, *, seed: int = 0, position: Position, after: Position) -> Batch:
    rng = np.random.default_rng(seed)
    num_samples, num_tokens = rng.integers(1, 400, size), rng.integers(0, 5, size)
    return Batch(
        audio=rng.integers(-32768, 32768, (size, num_samples.max()), dtype=np.int16),
        num_samples=num_samples,
        tokens=rng.integers(0, 2**40, (size, max(1, num_tokens.max()))),
        num_tokens=num_tokens,
        prompt_slots=rng.integers(0, 128, size),
        ids=tuple(f"ομιλία-{seed}-{row}" for row in range(size)),
        locales=("el-GR",) * size,
        sources=("radio",) * size,
        durations_s=rng.uniform(0.1, 40.0, size),
        position=position,
        next_position=after,
    )


def through_a_file(row: pa.Table) -> pa.Table:
    """Ray moves blocks between processes as Arrow streams."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, row.schema) as writer:
        writer.write_table(row)
    return pa.ipc.open_stream(stream.getvalue()).read_all()


@given(size=st.integers(1, 6), seed=st.integers(0, 2**32), position=positions, after=positions)
def test_a_row_becomes_the_batch_it_was_made_of(
    size: int, seed: int, position: Position, after: Position
) -> None:
    batch = batch_of(size, seed=seed, position=position, after=after)

    copy = batch_from_row(through_a_file(row_of_batch(batch)))

    for name in ARRAYS:
        before, behind = getattr(batch, name), getattr(copy, name)
        assert before.dtype == behind.dtype, name
        assert np.array_equal(before, behind), name
    assert (copy.ids, copy.locales, copy.sources) == (batch.ids, batch.locales, batch.sources)
    assert (copy.position, copy.next_position) == (position, after)


def test_a_batch_is_one_row() -> None:
    assert row_of_batch(batch_of(5, position=Position(), after=Position())).num_rows == 1


def part_of(places: list[Position], *, ranks: int, drawn: bool, seed: int) -> list[BatchRecipe]:
    rng = np.random.default_rng(seed)

    def recipe(position: Position, after: Position) -> BatchRecipe:
        rows = rng.integers(0, 2**31, (rng.integers(1, 5), 2)).tolist()
        draws = Draws(rng.integers(0, 2**64, len(rows), dtype=np.uint64), rng.uniform(0.9, 1.1, len(rows)))
        addresses = tuple(RowAddress(f"σ/{row % 3}.parquet", group, row) for group, row in rows)
        return BatchRecipe(
            position=position, after=after, addresses=addresses, draws=draws if drawn else None
        )

    return [recipe(*pair) for pair in itertools.pairwise(places) for _ in range(ranks)]


def told(recipe: BatchRecipe) -> tuple[object, ...]:
    draws = recipe.draws and (recipe.draws.keys.tolist(), recipe.draws.speeds.tolist())
    return recipe.position, recipe.after, recipe.after.mixes, recipe.addresses, draws


@given(
    places=st.lists(positions, min_size=2, max_size=4, unique=True),
    ranks=st.integers(1, 3),
    drawn=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_part_is_read_back(places: list[Position], ranks: int, drawn: bool, seed: int) -> None:
    part = part_of(places, ranks=ranks, drawn=drawn, seed=seed)
    row = through_a_file(row_of_part(part))

    assert row.num_rows == 1
    assert [told(recipe) for recipe in part_from_row(row)] == [told(recipe) for recipe in part]


@given(position=positions)
def test_positions_are_read_back(position: Position) -> None:
    read_back = decode_position(encode_position(position))
    assert (read_back, read_back.mixes) == (position, position.mixes)


class Rows:
    """As much of a DataIterator as a rank uses."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def iter_batches(self, **options: Any) -> Iterator[pa.Table]:
        assert (options["batch_size"], options["batch_format"]) == (1, "pyarrow")
        return (row_of_batch(batch) for batch in self.batches)


def read(batches: list[Batch]) -> list[Position]:
    iterator = cast(DataIterator, Rows(batches))
    return [batch.position for batch in RankFeed(iterator).batches(Position(0, 0, 0))]


class Told(Rows):
    """Tells when the first batch is asked for."""

    def __init__(self, asked: threading.Event) -> None:
        super().__init__([])
        self.asked = asked

    def iter_batches(self, **options: Any) -> Iterator[pa.Table]:
        self.asked.set()
        raise DataError("shard-7 is gone", fix="bring it back")
        yield


def test_reading_begins_before_the_first_batch_is_asked_for_and_fails_when_it_is() -> None:
    asked = threading.Event()
    feed = RankFeed(cast(DataIterator, Told(asked)))
    assert asked.wait(60)
    with pytest.raises(DataError, match="shard-7 is gone"):
        next(feed.batches(Position()))


STEPS = [Position(0, 0, 0), Position(0, 0, 1), Position(0, 1, 0), Position(1, 0, 0)]
IN_ORDER = [
    batch_of(2, seed=n, position=here, after=there)
    for n, (here, there) in enumerate(itertools.pairwise(STEPS))
]


def test_batches_in_the_order_of_the_plan_pass() -> None:
    assert read(IN_ORDER) == STEPS[:3]


@pytest.mark.parametrize("order", [[1, 2], [0, 2], [0, 0, 1], [0, 2, 1]])
def test_a_batch_left_out_repeated_or_swapped_is_noticed(order: list[int]) -> None:
    with pytest.raises(TrainingError, match="is due"):
        read([IN_ORDER[index] for index in order])
