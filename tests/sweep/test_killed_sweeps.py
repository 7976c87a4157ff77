"""A real sweep on a Ray of its own whose driver is killed at random moments, and the same command again."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr_ray.data.catalog import Catalog
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Position
from asr_ray.settings import TrainSettings
from asr_ray.sweep.records import TrialRecord, read_records, trials_path
from asr_ray.sweep.space import load_sweep
from asr_ray.testing.prepared import write_prepared
from asr_ray.train import ledger
from asr_ray.train.setup import planned_data

KILLS = 2
MAX_STEPS = 40

SWEEP = """
max_steps: {steps}
data:
  train: {root}/train
  validation: {root}/validation
  batch_s: 4.0
  window_utterances: 24
  mix: {{alpha: {{uniform: [0.0, 1.0]}}}}
model: {{base: {nemo}, max_unknown_share: 0.2}}
optim: {{warmup_steps: 2}}
validation: {{targets: [el-GR], guards: [en-US], every_steps: 10, stop_when_broken: null}}
checkpoint: {{every_steps: 5}}
resources: {{num_workers: 1, cpus_per_worker: 0.5, threads_per_worker: 1, local_cpus: 3}}
sweep: {{out: {root}/sweep, search: random, num_trials: 3, baselines: false, finalists: null}}
"""

JOB = Path(__file__).resolve().parents[2] / "jobs/sweep.py"


@pytest.mark.slow
@pytest.mark.ray
def test_kills_at_random_moments_lose_no_trial_and_no_utterance(tmp_path: Path, micro_nemo: Path) -> None:
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    counts = {("el-GR", "noise"): 60, ("en-US", "noise"): 40}
    write_prepared(tmp_path / "train", counts, tokenizer=tokenizer)
    write_prepared(tmp_path / "validation", dict.fromkeys(counts, 3), tokenizer=tokenizer)
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.format(root=tmp_path, nemo=micro_nemo, steps=MAX_STEPS))
    book = trials_path(tmp_path / "sweep")
    seed = random.SystemRandom().randrange(1000)
    rng = random.Random(seed)
    seen: dict[str, TrialRecord] = {}
    for number in range(KILLS + 1):
        job = subprocess.Popen([sys.executable, str(JOB), "--config", str(file)], start_new_session=True)
        while number < KILLS and job.poll() is None and not _running(book):
            time.sleep(0.2)
        if number == KILLS:
            assert job.wait() == 0, f"seed {seed}"
        else:
            time.sleep(rng.uniform(0.0, 30.0))
            os.kill(job.pid, signal.SIGKILL)
            job.wait()
        records = read_records(book)
        for name, record in seen.items():
            assert records[name].values == record.values
            if record.status == "finished":
                assert records[name] == record, f"seed {seed}: {name} was touched again"
        seen = records

    assert [record.status for record in seen.values()] == ["finished"] * 3, f"seed {seed}"
    assert (tmp_path / "sweep/decision.json").is_file()
    sweep = load_sweep(file)
    for record in seen.values():
        settings = sweep.settings_of(record.values, run_dir=Path(record.run_dir), seed=record.seed)
        assert consumed(settings) == planned(settings), f"seed {seed}: {record.name}"


def _running(book: Path) -> bool:
    return any(record.status == "running" for record in read_records(book).values())


def consumed(settings: TrainSettings) -> dict[int, list[str]]:
    """Step -> ids, as the ledger has them."""
    found: dict[int, list[str]] = {}
    for row in ledger.read(settings.run_dir).to_pylist():
        found.setdefault(row["step"], []).append(row["id"])
    return found


def planned(settings: TrainSettings) -> dict[int, list[str]]:
    """Step -> ids, as the plan has them."""
    catalog = Catalog.read(settings.data.train / "catalog.parquet", ids=True)
    steps = itertools.islice(planned_data(settings).plan.steps(Position(), world_size=1), settings.max_steps)
    return {number: catalog.ids(step.batches[0]) for number, step in enumerate(steps, start=1)}
