"""What Ray Train, the feed and the books of a run cost: a run against a plain loop over the same batches.

    python -m tests.benchmarks.overhead --data runs/demo/data

`plain` holds the batches of the plan in memory and does nothing but steps: forward, backward, clipping,
AdamW. `run` is a run of one worker on Ray over the same plan, with its ledger, metrics and trackers; its
steps are timed between two lines of its metrics, without validations and checkpoints. Seconds elapsed, and of
the processor: of the worker (which does what the plain loop does, and more), and of every other process of
Ray. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from asr_ray.config import load
from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.metrics import metrics_path, read
from asr_ray.records import Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.train.loop import seed_everything
from asr_ray.train.setup import planned_data
from asr_ray.train.step import (
    batch_losses,
    move_weights,
    objective_of,
    optimizer_of,
    set_up_torch,
    trained_parameters,
)

CPU = torch.device("cpu")


def settings_of(run_dir: Path, *, options: argparse.Namespace) -> TrainSettings:
    """Return a run of one worker that validates once, before its first step, and on one utterance."""
    sets = [
        f"run_dir={run_dir}",
        f"max_steps={options.steps + 1}",
        "optim.warmup_steps=1",
        f"data.train={options.data / 'train'}",
        f"data.validation={options.data / 'validation'}",
        "validation.utterances_per_locale=1",
        "validation.every_steps=100000",
        "validation.stop_when_broken=null",
        "checkpoint.every_steps=100000",
        "resources.num_workers=1",
    ]
    return load(options.config, schema=TrainSettings, sets=sets).settings


def batches_of(planned: PlannedData) -> Iterator[Batch]:
    """The batches of the run's only rank, read in this process."""
    start = ResumePoint(position=Position(), world_size=1, steps_taken=0)
    for part in planned.parts(start, world_size=1):
        yield from planned.reader.batches(part)


def plain(settings: TrainSettings, *, first: int, last: int) -> dict[str, float]:
    """Take the steps of the plan from a list; time those after `first` up to `last`."""
    from asr_ray.model.base import resolve_base
    from asr_ray.model.nemo_file import load_model, quiet_nemo

    set_up_torch(settings.resources)
    batches = list(itertools.islice(batches_of(planned_data(settings)), last))
    with quiet_nemo():
        objective = objective_of(load_model(resolve_base(settings.model.base)), settings=settings, device=CPU)
    objective.train()
    parameters, optimizer = trained_parameters(objective), optimizer_of(objective, optim=settings.optim)
    audio_s = 0.0
    for number, batch in enumerate(batches):
        if number == first:
            wall, cpu = time.perf_counter(), time.process_time()
        seed_everything(settings.seed, position=batch.position, rank=0)
        batch_losses(objective, batch, device=CPU, bf16=False).sum().backward()
        move_weights(optimizer, parameters=parameters, scale=1 / len(batch), rate=1e-4, clip_norm=1.0)
        audio_s += batch.audio_s if number >= first else 0.0
    return {
        "wall_s": time.perf_counter() - wall,
        "worker_cpu_s": time.process_time() - cpu,
        "audio_s": audio_s,
    }


class Meter:
    """Watches a run: what its processes had used when it passed the first and the last step."""

    def __init__(self, *, first: int, last: int) -> None:
        self.bounds = (first, last)
        self.seen: dict[int, dict[str, float]] = {}

    def __call__(self, run_dir: Path) -> None:
        rows = [row for row in read(metrics_path(run_dir)) if row["kind"] == "step"]
        for bound in self.bounds:
            row = next((row for row in rows if row["step"] >= bound), None)
            if row is not None and bound not in self.seen:
                self.seen[bound] = {"wall_s": row["elapsed_s"], **cpu_seconds()}

    def outcome(self, run_dir: Path) -> dict[str, float]:
        """Return what was used between the two steps, and the share of time spent waiting for data."""
        first, last = (self.seen[bound] for bound in self.bounds)
        rows = [row for row in read(metrics_path(run_dir)) if row["kind"] == "step"]
        rows = [row for row in rows if self.bounds[0] < row["step"] <= self.bounds[1]]
        return {name: last[name] - first[name] for name in first} | {
            "data_wait_share": sum(row["data_wait_share"] for row in rows) / len(rows)
        }


def cpu_seconds() -> dict[str, float]:
    """Processor time of the training worker, and of all else that Ray runs here."""
    worker = others = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times, name = process.cpu_times(), " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "RayTrainWorker" in name:
            worker += times.user + times.system
        else:
            others += times.user + times.system
    own = psutil.Process().cpu_times()
    return {"worker_cpu_s": worker, "others_cpu_s": others + own.user + own.system}


def on_ray(settings: TrainSettings, *, first: int, last: int) -> dict[str, float]:
    """Take the same steps as a run."""
    import ray

    from asr_ray.train.run import run_training

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    meter = Meter(first=first, last=last)
    run_training(settings, watch=meter)
    return meter.outcome(settings.run_dir)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.overhead", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("runs/demo/data"), help="prepared by `make demo`")
    parser.add_argument("--config", type=Path, default=Path("configs/runs/demo.yaml"))
    parser.add_argument("--warm-up", type=int, default=10, help="steps before the first that counts")
    parser.add_argument("--steps", type=int, default=50, help="last step that counts; a multiple of 10")
    parser.add_argument("--child", choices=("plain", "run"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if options.child:
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_of(Path(folder) / "run", options=options)
            take = plain if options.child == "plain" else on_ray
            print(json.dumps(take(settings, first=options.warm_up, last=options.steps)))
        return
    found: dict[str, Any] = {}
    for way in ("plain", "run"):
        command = [sys.executable, "-m", "tests.benchmarks.overhead", *sys.argv[1:], f"--child={way}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    steps = options.steps - options.warm_up
    ratios = {name: found["run"][name] / found["plain"][name] for name in ("wall_s", "worker_cpu_s")}
    print(json.dumps({"steps": steps, "load": os.getloadavg()} | found | {"run_to_plain": ratios}))


if __name__ == "__main__":
    main()
