"""The feed under faults and on other numbers of slots: the same batches in the same order, or a clear end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import ray.data
from ray.data import ExecutionResources

from asr_ray.data.planned import PlannedData
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.faults import FaultyTokenizer
from tests.data.test_feed import START, consume, planned, planned_ids

__all__ = ["planned"]  # a fixture of the feed's own tests

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def with_tokenizer(data: PlannedData, tokenizer: FaultyTokenizer) -> PlannedData:
    return replace(data, assembler=replace(data.assembler, tokenizer=tokenizer))


def assert_is_plan(planned: PlannedData, faulty: PlannedData) -> None:
    received = consume(faulty, START, world_size=2)
    expected = planned_ids(planned, world_size=2)
    for rank in range(2):
        assert [batch.ids for batch in received[rank]] == [step[rank] for step in expected]


@pytest.fixture
def limited_slots(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let Ray Data use so many CPUs."""
    options = ray.data.DataContext.get_current().execution_options
    before = options.resource_limits
    options.resource_limits = ExecutionResources(cpu=request.param)
    yield
    options.resource_limits = before


@pytest.mark.parametrize("limited_slots", [1, 2, 4], indirect=True)
@pytest.mark.usefixtures("limited_slots")
def test_the_order_does_not_depend_on_the_number_of_slots(planned: PlannedData) -> None:
    assert_is_plan(planned, planned)


def test_a_killed_reading_task_costs_no_batch(planned: PlannedData, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    assert_is_plan(planned, with_tokenizer(planned, FaultyTokenizer(dies_once=marker)))
    assert marker.exists()


def test_a_slow_part_is_waited_for_and_not_overtaken(planned: PlannedData) -> None:
    part = next(planned.parts(START, world_size=2))
    seen: list[str] = []

    class Listening(FakeTokenizer):
        def encode(self, text: str) -> list[int]:
            seen.append(text)
            return super().encode(text)

    listening = replace(planned, assembler=replace(planned.assembler, tokenizer=Listening()))
    first = list(listening.reader.batches(part))
    assert first
    slow = FaultyTokenizer(slow_texts=frozenset(seen[:3]), delay_s=1.0)
    assert_is_plan(planned, with_tokenizer(planned, slow))


def test_a_shard_that_stays_away_ends_the_feed_and_is_named(planned: PlannedData, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(planned.data.train, root)
    broken = replace(planned, data=planned.data.model_copy(update={"train": root}))
    next(broken.parts(START, world_size=1))  # the plan is made while all is there
    shards = sorted((root / "shards").rglob("*.parquet"))
    for shard in shards:
        shard.unlink()
    with pytest.raises(ray.exceptions.RayError, match=r"\.parquet: cannot be read"):
        consume_alone(broken)


def consume_alone(data: PlannedData) -> int:
    """Read all batches of one rank in this thread, so that errors arrive here."""
    from asr_ray.data.feed import RankFeed, planned_dataset

    (split,) = planned_dataset(data, START, world_size=1).streaming_split(1, equal=True)
    return sum(1 for _ in RankFeed(split).batches(START.position))
