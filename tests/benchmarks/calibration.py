"""Do measured coefficients balance ranks better? `python -m tests.benchmarks.calibration --help`.

Plans the same windows of prepared speech for 8 ranks once with the default coefficients and once with
those of a calibration, takes a real training step with every batch of both plans on this one device, and
sums up what 8 of it would have waited for each other. The batches of both plans are timed in one shuffled
order, several times over, and the shortest counts; on a CPU processor time of one thread, so that other
work on the machine matters less. `noise` is how far the shortest of the odd and of the even rounds differ:
what no coefficients can foresee. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from asr_ray.config import load
from asr_ray.data.planned import PlannedData
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import inspect_nemo, load_model
from asr_ray.records import Batch, Position
from asr_ray.settings import CalibrateSettings, CostSettings
from asr_ray.train.calibration.measure import TorchBench, describe_device, training_device
from asr_ray.train.calibration.run import dense_tokens_per_s, examine
from asr_ray.train.setup import planned_data
from asr_ray.train.step import set_up_torch

RANKS = 8


def planned_batches(planned: PlannedData, *, steps: int) -> list[list[Batch]]:
    """The first steps of a plan, each with the batches of all ranks."""
    taken = list(itertools.islice(planned.plan.steps(Position(), world_size=RANKS), steps))
    batches: list[Batch] = []
    for _, group in itertools.groupby(taken, key=lambda step: (step.position.epoch, step.position.window)):
        window = list(group)
        batches += planned.read_window(window[0].position, num_steps=len(window), world_size=RANKS)
    return [batches[start : start + RANKS] for start in range(0, len(batches), RANKS)]


def timed(bench: TorchBench, batches: Sequence[Batch], *, repeats: int) -> list[list[float]]:
    """Seconds of steps with each batch, after one that does not count."""
    taken: list[list[float]] = [[] for _ in batches]
    order = np.random.default_rng(0)
    for round_ in range(1 + repeats):
        for index in order.permutation(len(batches)).tolist():
            seconds = bench.seconds(batches[index])
            if round_:
                taken[index].append(seconds)
    return taken


def figures(
    planned: PlannedData, batches: Sequence[Sequence[Batch]], times: Sequence[float]
) -> dict[str, Any]:
    """Predicted and measured efficiency of the steps of a plan, and how well one tells the other."""
    measured = np.reshape(times, (-1, RANKS))
    predicted = np.array([[cost_of(planned, batch) for batch in step] for step in batches])
    return {
        "predicted_efficiency": efficiency(predicted),
        "measured_efficiency": efficiency(measured),
        "rank_correlation": float(spearmanr(predicted.ravel(), measured.ravel()).statistic),
        "step_s": float(measured.max(axis=1).mean()),
        "audio_s_per_s": sum(batch.audio_s for step in batches for batch in step)
        / float(measured.max(axis=1).sum()),
    }


def median_error(planned: PlannedData, batches: Sequence[Batch], times: Sequence[float]) -> float:
    """|predicted / measured - 1| up to one factor, for the default coefficients have no unit."""
    ratio = np.array([cost_of(planned, batch) for batch in batches]) / np.array(times)
    return float(np.median(np.abs(ratio / np.median(ratio) - 1)))


def cost_of(planned: PlannedData, batch: Batch) -> float:
    """Predicted cost of one batch."""
    (cost,) = planned.plan.cost.batch_cost(
        utterances=np.array([len(batch)]),
        longest_s=np.array([batch.durations_s.max()]),
        most_tokens=np.array([batch.num_tokens.max()]),
    )
    return float(cost)


def efficiency(costs: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Mean over steps of mean / largest over ranks."""
    return float((costs.mean(axis=1) / costs.max(axis=1)).mean())


def main(options: argparse.Namespace) -> Mapping[str, Any]:
    """Calibrate, plan twice, time all batches of both plans."""
    sets = [f"data.train={options.data}", f"data.validation={options.data}", "run_dir=unused"]
    sets += [f"data.batch_s={options.batch_s}", f"data.window_utterances={options.window}"]
    sets += ["model.base=tiny", f"validation.targets=[{options.target}]", "resources.threads_per_worker=1"]
    settings = load(None, schema=CalibrateSettings, sets=[*sets, *options.set]).settings
    set_up_torch(settings.resources)
    base = resolve_base("tiny")
    archive, device = inspect_nemo(base), training_device(use_gpu=settings.resources.use_gpu)
    bench = TorchBench(
        settings,
        model=load_model(base, device=device),
        device=device,
        num_pieces=archive.vocabulary_size,
        prompt_slot=archive.prompt_table.auto_slot,
        clock=time.process_time if device.type == "cpu" else time.perf_counter,
    )
    started = time.perf_counter()
    dense = dense_tokens_per_s(settings)
    cost = examine(bench, settings=settings, tokens_per_s=dense, limit_bytes=None).cost
    took_s = time.perf_counter() - started
    measured = CostSettings(a=cost.a, b=cost.b, c=cost.c, d=cost.d)
    calibrated = settings.model_copy(update={"data": settings.data.model_copy(update={"cost": measured})})
    plans = {"default": planned_data(settings), "calibrated": planned_data(calibrated)}
    batches = {name: planned_batches(plan, steps=options.steps) for name, plan in plans.items()}
    flat = [batch for name in batches for step in batches[name] for batch in step]
    taken = timed(bench, flat, repeats=options.repeats)
    shortest = [min(times) for times in taken]
    noise = [abs(min(times[::2]) / min(times[1::2]) - 1) for times in taken]
    times = iter(shortest)
    result = {
        name: figures(plans[name], steps, list(itertools.islice(times, RANKS * len(steps))))
        for name, steps in batches.items()
    }
    return {
        "device": describe_device(device).model_dump(),
        "calibration_s": took_s,
        "dense_tokens_per_s": dense,
        "cost": cost.model_dump(),
        "steps": options.steps,
        "noise": statistics.median(noise),
        "median_error_over_both": {name: median_error(plan, flat, shortest) for name, plan in plans.items()},
        **result,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder written by jobs/prepare.py")
    parser.add_argument("--target", default="en-US", help="a locale of it")
    parser.add_argument("--batch_s", type=float, default=24.0)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], help="override of the configuration")
    sys.stdout.write(json.dumps(main(parser.parse_args())) + "\n")
