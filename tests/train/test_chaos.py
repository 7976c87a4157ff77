"""Ten minutes of random kills on a cluster of three nodes; the run ends as if nothing had been.

    CHAOS_MINUTES=10 python -m pytest -m chaos -s tests/train/test_chaos.py

Every 20 to 40 seconds (CHAOS_PAUSE_S), drawn from a fixed seed, one of these is hit: a training worker
(SIGKILL, or SIGSTOP, which only the watch over hanging ranks ends), a process of the feed, a node (its
raylet; another takes its place), or the driver (the same command is given again). Prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from asr_ray.config import load
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import write_prepared
from asr_ray.train.checkpoint import CheckpointStore
from tests.train.runs import booked, due, weights_hash
from tests.train.small_cluster import ENVIRONMENT, ROOT, SmallCluster

MINUTES = float(os.environ.get("CHAOS_MINUTES", "10"))
PAUSE_S = tuple(float(each) for each in os.environ.get("CHAOS_PAUSE_S", "20,40").split(","))
SEED = 20261123
MAX_STEPS = int(os.environ.get("CHAOS_STEPS", "60"))
FEED = ("SplitCoordinator", "MapBatches", "map_batches", "_read", "_plan")


@pytest.fixture(scope="module")
def cluster() -> Iterator[SmallCluster]:
    cluster = SmallCluster()
    yield cluster
    cluster.end()


@dataclass
class Driver:
    """`jobs/train.py` as a process; the same command again when it ends too early."""

    config: Path
    address: str
    log: Path
    starts: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    process: subprocess.Popen[bytes] | None = None

    def keep_going(self) -> bool:
        """Start it where it is not running; return whether it still has to run."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return True
            self.codes[code] += 1
            if code == 0:
                return False
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "jobs/train.py", "--config", str(self.config)],
                cwd=ROOT,
                env={**os.environ, **ENVIRONMENT, "RAY_ADDRESS": self.address},
                stdout=log,
                stderr=log,
            )
        return True


@dataclass
class Chaos:
    """Hits something at random."""

    cluster: SmallCluster
    driver: Driver
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))
    hits: Counter[str] = field(default_factory=Counter)

    def strike(self) -> None:
        """One hit; what is not there at the moment is not hit."""
        kind = self.rng.choice(["worker", "worker", "frozen worker", "feed", "node", "driver"])
        if kind == "node":
            self.cluster.lose(self.rng)
            self.cluster.add()
        elif kind == "driver":
            assert self.driver.process is not None
            self.driver.process.kill()
        else:
            names = FEED if kind == "feed" else ("RayTrainWorker",)
            found = self.cluster.processes(*names)
            if not found:
                kind = f"{kind} (none there)"
            else:
                number = signal.SIGSTOP if kind == "frozen worker" else signal.SIGKILL
                with contextlib.suppress(psutil.Error):
                    self.rng.choice(found).send_signal(number)
        self.hits[kind] += 1
        print(f"{time.strftime('%H:%M:%S')} {kind}", file=sys.stderr)


def config_for(root: Path, *, name: str, base: Path) -> Path:
    path = root / f"{name}.yaml"
    tree = {
        "run_dir": str(root / name),
        "max_steps": MAX_STEPS,
        "data": {
            "train": str(root / "train"),
            "validation": str(root / "validation"),
            "batch_s": 4.0,
            "window_utterances": 24,
            "mix": {"alpha": 0.0},
        },
        "model": {"base": str(base), "max_unknown_share": 0.2},
        "optim": {"warmup_steps": 2},
        "validation": {"targets": ["el-GR"], "guards": ["en-US"], "every_steps": MAX_STEPS // 2},
        "checkpoint": {"every_steps": 2},
        "resources": {
            "num_workers": 2,
            "cpus_per_worker": 1.0,
            "threads_per_worker": 1,
            "max_failures": -1,
            "hang_timeout_s": 60.0,
        },
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, micro_nemo: Path) -> Path:
    from asr_ray.model.tokens import NemoTokenizer

    root = tmp_path_factory.mktemp("chaos")
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    write_prepared(root / "train", {("el-GR", "noise"): 60, ("en-US", "noise"): 40}, tokenizer=tokenizer)
    write_prepared(root / "validation", {("el-GR", "noise"): 2, ("en-US", "noise"): 2}, tokenizer=tokenizer)
    return root


@pytest.mark.ray
@pytest.mark.chaos
def test_a_run_under_random_kills_ends_with_the_weights_of_one_without(
    cluster: SmallCluster, prepared: Path, micro_nemo: Path
) -> None:
    def driver_of(name: str) -> Driver:
        config = config_for(prepared, name=name, base=micro_nemo)
        return Driver(config, cluster.cluster.address, log=prepared / f"{name}.log")

    driver = driver_of("disturbed")
    chaos = Chaos(cluster, driver)
    started = time.monotonic()
    next_s = started + chaos.rng.uniform(*PAUSE_S)
    at_end_of_kills = None
    while driver.keep_going():
        time.sleep(0.5)
        now = time.monotonic()
        if now < started + MINUTES * 60:
            if now >= next_s:
                chaos.strike()
                next_s = time.monotonic() + chaos.rng.uniform(*PAUSE_S)
        elif at_end_of_kills is None:
            at_end_of_kills = max(CheckpointStore(prepared / "disturbed").steps(), default=0)
    disturbed_s = time.monotonic() - started

    calm = driver_of("calm")
    started = time.monotonic()
    while calm.keep_going():
        time.sleep(0.5)
    record = {
        "minutes_of_kills": MINUTES,
        "pause_s": PAUSE_S,
        "hits": dict(chaos.hits),
        "driver_starts": driver.starts,
        "driver_exit_codes": dict(driver.codes),
        "step_at_the_end_of_kills": at_end_of_kills,
        "steps": MAX_STEPS,
        "disturbed_s": round(disturbed_s),
        "calm_s": round(time.monotonic() - started),
        "weights": [weights_hash(prepared / name, step=MAX_STEPS) for name in ("disturbed", "calm")],
        "same_ledger": booked(prepared / "disturbed") == booked(prepared / "calm"),
    }
    print(json.dumps(record))
    assert record["weights"][0] == record["weights"][1]
    settings = load(prepared / "calm.yaml", schema=TrainSettings).settings
    for name in ("disturbed", "calm"):
        assert booked(prepared / name) == due(settings, world_sizes=[2] * MAX_STEPS)
