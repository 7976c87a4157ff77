"""Two real ranks, without Ray, one of which is killed or frozen every 20 to 40 seconds until the run is over.

    KILLS_STEPS=60 python -m pytest -m chaos -s tests/train/test_random_kills.py

The seed is fixed; at which step a rank is hit is for the machine to say. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asr_ray.settings import TrainSettings
from asr_ray.testing.faults import RankFault
from asr_ray.testing.ranks import Ended, run_ranks
from asr_ray.train.checkpoint import CheckpointStore
from tests.train.runs import booked, weights_hash
from tests.train.test_faults import RANKS, UTTERANCES, ids_at, settings_for, train

MAX_STEPS = int(os.environ.get("KILLS_STEPS", "60"))
PAUSE_S = (20.0, 40.0)
PACE_S = 3.0
SEED = 20261123
HANG_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(RankFault):
    """No fault: makes each step take a while, so that hits find the run at work."""

    def mark(self, doing: str, step: int | None = None) -> None:
        if doing == "waiting for data":
            time.sleep(PACE_S)


@dataclass
class Hits:
    """Kills or stops a random rank at random times."""

    rng: random.Random = field(default_factory=lambda: random.Random(SEED))
    hits: Counter[str] = field(default_factory=Counter)
    next_s: float = 0.0

    def __call__(self, pids: Sequence[int]) -> None:
        now = time.monotonic()
        if not self.next_s:
            self.next_s = now + self.rng.uniform(*PAUSE_S)
        if now < self.next_s or not pids:
            return
        number = self.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
        os.kill(self.rng.choice(pids), number)
        self.hits[number.name] += 1
        self.next_s = now + self.rng.uniform(*PAUSE_S)


@pytest.mark.chaos
def test_random_kills_leave_the_same_weights_and_an_exact_ledger(tmp_path: Path, micro_nemo: Path) -> None:
    def settings_of(name: str) -> TrainSettings:
        (tmp_path / name).mkdir()
        settings = settings_for(tmp_path / name, base=micro_nemo)
        return settings.model_copy(update={"max_steps": MAX_STEPS})

    def run(settings: TrainSettings, pace: Pace | None, hits: Hits | None) -> Ended:
        return run_ranks(
            train,
            settings,
            pace,
            None,
            world_size=RANKS,
            run_dir=settings.run_dir,
            hang_timeout_s=HANG_TIMEOUT_S if hits else 300.0,
            meddle=hits if hits else lambda pids: None,
        )

    disturbed, calm = settings_of("disturbed"), settings_of("calm")
    pace = Pace(kind="exception", rank=0, moment="mid-window", once=tmp_path / "never")
    hits, starts, hangs, started = Hits(), 0, 0, time.monotonic()
    while True:
        starts += 1
        ended = run(disturbed, pace, hits)
        hangs += ended.hang is not None
        step = max(CheckpointStore(disturbed.run_dir).steps(), default=0)
        print(f"{time.strftime('%H:%M:%S')} start {starts} ended at step {step}", file=sys.stderr)
        if ended.well:
            break
    disturbed_s = time.monotonic() - started
    assert run(calm, None, None).well
    hashes = [weights_hash(settings.run_dir, step=MAX_STEPS) for settings in (disturbed, calm)]
    record = {"hits": dict(hits.hits), "starts": starts, "hangs_ended": hangs, "steps": MAX_STEPS}
    print(json.dumps(record | {"disturbed_s": round(disturbed_s), "weights_sha256": hashes}))
    assert hashes[0] == hashes[1]
    due = {
        (step + 1, rank): [UTTERANCES[index].id for index in ids_at(step, rank=rank)]
        for step in range(MAX_STEPS)
        for rank in range(RANKS)
    }
    assert booked(disturbed.run_dir) == booked(calm.run_dir) == due
