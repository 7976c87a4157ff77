"""One optimizer step of a model in the true size, on the CPU: how long it takes and how much memory it needs.

    python -m tests.benchmarks.full_size --model FILE

Writes a model with random weights to FILE if there is none, in a process of its own, so that the peak is that
of training: restoring, a forward and backward pass, clipping and AdamW, in float32. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from asr_ray.config import load
from asr_ray.model.nemo_file import inspect_nemo, load_model
from asr_ray.settings import TrainSettings
from asr_ray.train.calibration.measure import made_up_batch
from asr_ray.train.calibration.record import Shape
from asr_ray.train.step import batch_losses, move_weights, objective_of, optimizer_of, trained_parameters

CPU = torch.device("cpu")
RATE = 1e-4


def measure(path: Path, *, shape: Shape, sets: list[str]) -> dict[str, float]:
    """Take one step and return what it took."""
    needed = ("run_dir=r", "data.train=t", "data.validation=v", "validation.targets=[el-GR]")
    settings = load(None, schema=TrainSettings, sets=[*needed, f"model.base={path}", *sets]).settings
    started = time.perf_counter()
    archive = inspect_nemo(path)
    inspected = time.perf_counter()
    objective = objective_of(load_model(path), settings=settings, device=CPU).train()
    restored = time.perf_counter()
    trained = trained_parameters(objective)
    optimizer = optimizer_of(objective, optim=settings.optim)
    batch = made_up_batch(shape, num_pieces=archive.vocabulary_size, prompt_slot=21)
    before = [weight.detach().flatten()[:8].clone() for weight in trained]
    losses = batch_losses(objective, batch, device=CPU, bf16=False)
    losses.sum().backward()
    finite = move_weights(optimizer, parameters=trained, scale=1 / len(batch), rate=RATE, clip_norm=1.0)
    moved = sum(not torch.equal(old, new.flatten()[:8]) for old, new in zip(before, trained, strict=True))
    return {
        "parameters": sum(weight.numel() for weight in objective.model.parameters()),
        "trained": sum(weight.numel() for weight in trained),
        "file_gb": path.stat().st_size / 1e9,
        "inspect_s": inspected - started,
        "restore_s": restored - inspected,
        "step_s": time.perf_counter() - restored,
        "loss": float(losses.detach().mean()),
        "finite": finite,
        "moved_share": moved / len(trained),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=2)
    parser.add_argument("--duration-s", type=float, default=8.0)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    started = time.perf_counter()
    if not options.model.is_file():
        command = [sys.executable, "-m", "asr_ray.testing.full_size", "--out", str(options.model)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    written_s = time.perf_counter() - started
    shape = Shape(utterances=options.utterances, duration_s=options.duration_s, num_tokens=options.tokens)
    result = measure(options.model, shape=shape, sets=options.set)
    print(json.dumps({"write_s": written_s} | result))


if __name__ == "__main__":
    main()
