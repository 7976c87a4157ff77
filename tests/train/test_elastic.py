"""A node is lost, or gives notice that it will be, and one comes back; no utterance is lost or repeated."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asr_ray.errors import Interrupted
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import write_prepared
from asr_ray.train import run as train_run
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.run import run_training
from asr_ray.train.survival.pulse import read_pulses
from tests.train.runs import booked, due, world_sizes
from tests.train.small_cluster import SmallCluster

MAX_STEPS = 2000
LOSE_AT, ADD_AFTER = 4, 4
RESIZE_EVERY_S = 5.0
NOTICE_S = 20
"""Between the notice that a node goes away and its end."""


@pytest.fixture
def cluster() -> Iterator[SmallCluster]:
    """A head that reads, and two nodes that hold one worker each."""
    import ray

    cluster = SmallCluster(nodes=2, cpus_per_node=2)
    ray.init(address=cluster.cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.end()


class Weather:
    """Takes a node away, and brings one when the run has gone on without it."""

    def __init__(self, cluster: SmallCluster) -> None:
        self.cluster = cluster
        self.lost_at: int | None = None
        self.added_at: int | None = None
        self.enough = False

    def __call__(self, run_dir: Path) -> None:
        newest = max(CheckpointStore(run_dir).steps(), default=0)
        if self.lost_at is None:
            if newest >= LOSE_AT:
                self.cluster.lose(random.Random(0))
                self.lost_at = newest
        elif self.added_at is None and newest >= self.lost_at + ADD_AFTER:
            self.cluster.add()
            self.added_at = newest
        elif self.added_at is not None and not self.enough:
            sizes = world_sizes(booked(run_dir))
            grown = [size for size, _ in itertools.groupby(sizes)] == [2, 1, 2]
            if grown:
                self.enough = True
                (run_dir / "stop-requested").touch()


class Notice:
    """Has Ray drain a node as a cloud takes back a machine; stops the run once it goes on without it."""

    def __init__(self, cluster: SmallCluster) -> None:
        self.cluster = cluster
        self.first: set[int] = set()
        self.committed_at: int | None = None
        self.enough = False

    def __call__(self, run_dir: Path) -> None:
        beats = list(read_pulses(run_dir).values())
        newest = max(CheckpointStore(run_dir).steps(), default=0)
        if not self.first:
            if len(beats) == 2 and all(beat.step >= LOSE_AT for beat in beats):
                self.first = {beat.pid for beat in beats}
                self.cluster.drain(beats[1].node, within_s=NOTICE_S)
        elif self.committed_at is None:
            if newest:
                self.committed_at = newest
                self.cluster.add()
        elif not self.enough and any(
            beat.pid not in self.first and beat.step > self.committed_at for beat in beats
        ):
            self.enough = True
            (run_dir / "stop-requested").touch()


def settings_for(root: Path, *, base: Path, every_steps: int, resources: dict[str, object]) -> TrainSettings:
    """A run over noise, prepared beside it."""
    tokenizer = NemoTokenizer.from_nemo(base)
    write_prepared(root / "train", {("el-GR", "noise"): 60, ("en-US", "noise"): 40}, tokenizer=tokenizer)
    write_prepared(root / "validation", {("el-GR", "noise"): 2}, tokenizer=tokenizer)
    return TrainSettings.model_validate(
        {
            "run_dir": root / "run",
            "max_steps": MAX_STEPS,
            "data": {
                "train": root / "train",
                "validation": root / "validation",
                "batch_s": 4.0,
                "window_utterances": 24,
            },
            "model": {"base": str(base), "max_unknown_share": 0.2},
            "validation": {"targets": ["el-GR"], "every_steps": MAX_STEPS},
            "checkpoint": {"every_steps": every_steps},
            "resources": {"cpus_per_worker": 2.0, "threads_per_worker": 1, **resources},
        }
    )


def run_until_stopped(settings: TrainSettings, weather: Callable[[Path], None]) -> None:
    """Train until a file that is not of our own signal handler asks for the end."""
    with pytest.raises(Interrupted, match="stopped by a file stop-requested") as stopped:
        run_training(settings, watch=weather)
    assert stopped.value.exit_code == 6
    assert json.loads((settings.run_dir / "summary.json").read_text())["exit_code"] == 6


@pytest.mark.ray
@pytest.mark.slow
def test_a_lost_node_and_a_new_one_cost_no_utterance(
    cluster: SmallCluster, tmp_path: Path, micro_nemo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, base=micro_nemo, every_steps=2, resources={"num_workers": [1, 2]})
    shorter = functools.partial(train_run.ScalingConfig, elastic_resize_monitor_interval_s=RESIZE_EVERY_S)
    monkeypatch.setattr(train_run, "ScalingConfig", shorter)
    run_until_stopped(settings, Weather(cluster))
    books = booked(settings.run_dir)
    assert [size for size, _ in itertools.groupby(world_sizes(books))] == [2, 1, 2]
    assert books == due(settings, world_sizes=world_sizes(books))


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_gives_notice_leaves_a_checkpoint_and_does_not_count_as_a_failure(
    cluster: SmallCluster, tmp_path: Path, micro_nemo: Path
) -> None:
    """Nothing else commits here, and one failure would be the end."""
    settings = settings_for(
        tmp_path, base=micro_nemo, every_steps=MAX_STEPS, resources={"num_workers": 2, "max_failures": 0}
    )
    notice = Notice(cluster)
    run_until_stopped(settings, notice)
    assert notice.committed_at is not None and notice.committed_at < MAX_STEPS
    books = booked(settings.run_dir)
    assert books == due(settings, world_sizes=[2] * len(world_sizes(books)))
