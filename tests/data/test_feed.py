"""The feed on a real Ray: batch i of the plan reaches rank i mod W, and the ranks together get the plan."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from asr_ray.data.assemble import Assembler
from asr_ray.data.feed import RankFeed, planned_dataset
from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.locales import DEFAULT_PROMPT_SLOTS
from asr_ray.records import Batch, Position, PromptTable
from asr_ray.settings import DataSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.prepared import write_prepared

pytestmark = pytest.mark.ray

NUM_STEPS = 10
START = ResumePoint(position=Position(), world_size=2, steps_taken=0)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> PlannedData:
    """Two locales of noise, cut into batches of four seconds, several windows."""
    root: Path = tmp_path_factory.mktemp("prepared")
    write_prepared(root, {("el-GR", "noise"): 48, ("en-US", "noise"): 24}, tokenizer=FakeTokenizer())
    return PlannedData(
        data=DataSettings(train=root, validation=root, batch_s=4.0, window_utterances=16),
        seed=3,
        num_steps=NUM_STEPS,
        budget_s=1e6,
        assembler=Assembler(
            tokenizer=FakeTokenizer(),
            prompts=PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=128),
            prompt_mode="langID",
            auto_share=0.0,
            append_tags=False,
            seed=3,
        ),
    )


def consume(planned: PlannedData, start: ResumePoint, *, world_size: int) -> list[list[Batch]]:
    """Read every rank's batches at once, as the workers of a group do."""
    splits = planned_dataset(planned, start, world_size=world_size).streaming_split(world_size, equal=True)
    received: list[list[Batch]] = [[] for _ in range(world_size)]

    def read(rank: int, split: Any) -> None:
        received[rank].extend(RankFeed(split).batches(start.position))

    threads = [threading.Thread(target=read, args=pair) for pair in enumerate(splits)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return received


def planned_ids(planned: PlannedData, *, world_size: int) -> list[list[tuple[str, ...]]]:
    """Ids of each step and rank, read straight from the plan."""
    parts = planned.parts(START, world_size=world_size)
    ids = [batch.ids for part in parts for batch in planned.reader.batches(part)]
    return [ids[first : first + world_size] for first in range(0, len(ids), world_size)]


@pytest.mark.usefixtures("ray_cluster")
def test_batch_i_goes_to_rank_i_mod_world_size(planned: PlannedData) -> None:
    received = consume(planned, START, world_size=2)
    expected = planned_ids(planned, world_size=2)
    assert len(expected) == NUM_STEPS
    assert [batch.ids for batch in received[0]] == [step[0] for step in expected]
    assert [batch.ids for batch in received[1]] == [step[1] for step in expected]


@pytest.mark.usefixtures("ray_cluster")
def test_resuming_continues_with_the_next_step(planned: PlannedData) -> None:
    whole = consume(planned, START, world_size=2)
    taken = 4
    resumed = consume(
        planned,
        ResumePoint(position=whole[0][taken].position, world_size=2, steps_taken=taken),
        world_size=2,
    )
    for rank in range(2):
        assert [batch.ids for batch in resumed[rank]] == [batch.ids for batch in whole[rank][taken:]]
        assert (resumed[rank][0].audio == whole[rank][taken].audio).all()
