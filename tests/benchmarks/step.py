"""One training step, ours against NeMo's own `training_step`, on the same model and batch.

    python -m tests.benchmarks.step
    python -m tests.benchmarks.step --model FILE --size full --device cuda --bf16 --utterances 32
    python -m tests.benchmarks.step --model FILE --size full --device cuda --bf16 --largest --ways ours nemo

A step is forward, backward, clipping and AdamW. Three ways take it, each in a process of its own, so that
peaks are those of one way:

    ours    the objective of this package
    nemo    `EncDecRNNTBPEModelWithPrompt.training_step` as it is, with its fused joint and numba loss
    lattice the same, with a quick loss in place of numba's, which on a CPU hides everything else

Dropout and SpecAugment are off and one context is used, so the losses agree: they are printed. Times are
medians, elapsed and of the processor. `--largest` looks for the largest batch that fits into the memory of a
GPU. The model is written first if FILE does not exist: in the true size with `--size full`, else with a small
encoder that a CPU can afford, but always with 13,087 pieces. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from asr_ray.config import load
from asr_ray.model.nemo_file import inspect_nemo, load_model, quiet_nemo
from asr_ray.records import Batch
from asr_ray.settings import TrainSettings
from asr_ray.testing.full_size import FULL_SIZE, write_full_size
from asr_ray.train.calibration.measure import made_up_batch
from asr_ray.train.calibration.record import Shape
from asr_ray.train.step import (
    batch_losses,
    move_weights,
    objective_of,
    optimizer_of,
    set_up_torch,
    trained_parameters,
)
from tests.benchmarks.loss import diagonal_loss

WAYS = ("ours", "nemo", "lattice")
SMALL_ENCODER = dataclasses.replace(
    FULL_SIZE, d_model=128, num_layers=2, num_heads=4, subsampling_channels=32
)
"""Decoder and joint of the released model under an encoder that a CPU can afford."""

SETS = (
    "run_dir=r",
    "data.train=t",
    "data.validation=v",
    "validation.targets=[el-GR]",
    "model.att_context_sizes=[[56, 13]]",
    "model.spec_augment=false",
)
PROMPT_SLOT = 21

Losses = Callable[[], Tensor]


class QuickLoss(nn.Module):
    """A loss in place of NeMo's that takes little time beside the joint; utterances of full length only."""

    reduction = "mean_batch"

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Return the mean loss of logits or log-probabilities [B, T, U + 1, V + 1]."""
        log_probs = log_probs.log_softmax(-1, dtype=torch.float32)
        blank = log_probs.shape[-1] - 1
        padded = nn.functional.pad(targets, (0, 1), value=blank)
        index = padded[:, None, :, None].expand(-1, log_probs.shape[1], -1, 1)
        return diagonal_loss(log_probs[..., blank], log_probs.gather(-1, index).squeeze(-1))

    def reduce(self, losses: Any, target_lengths: Tensor) -> Tensor:
        """Return the mean over a batch that was cut into parts."""
        return torch.cat([part.reshape(-1) for part in losses]).mean()


def without_chance(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.LSTM):
            module.dropout = 0.0


def nemo_losses(model: Any, batch: Batch, *, options: argparse.Namespace, optimizer: Any) -> Losses:
    """NeMo's own step on the batch as its loader would hand it over."""
    # What a Lightning trainer would be asked for; it never logs.
    model._trainer = SimpleNamespace(log_every_n_steps=10**9, global_step=0)
    model._optimizer = optimizer
    model.log_dict = lambda *args, **kwargs: None
    if options.child == "lattice":
        model.loss = QuickLoss()
        model.joint.set_loss(model.loss)
    device = torch.device(options.device)
    arrays = (batch.num_samples, batch.tokens, batch.num_tokens, batch.prompt_slots)

    def losses() -> Tensor:
        audio = torch.from_numpy(batch.audio).to(device).float() / 32768.0
        handed = (audio, *(torch.from_numpy(array).to(device) for array in arrays))
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            loss: Tensor = model.training_step(handed, 0)["loss"]
        return loss.reshape(1)

    return losses


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Take the steps of one way and return what they took."""
    device = torch.device(options.device)
    sets = [*SETS, f"model.base={options.model}", f"resources.threads_per_worker={options.threads}"]
    settings = load(None, schema=TrainSettings, sets=sets).settings
    set_up_torch(settings.resources)
    with quiet_nemo():
        objective = objective_of(load_model(options.model), settings=settings, device=device).train()
    without_chance(objective)
    parameters = trained_parameters(objective)
    optimizer = optimizer_of(objective, optim=settings.optim)
    pieces = inspect_nemo(options.model).vocabulary_size

    def steps(utterances: int) -> list[tuple[float, float, float]]:
        """(seconds elapsed, seconds of the processor, mean loss) of each step; the first one is left out."""
        shape = Shape(utterances=utterances, duration_s=options.duration_s, num_tokens=options.tokens)
        batch = made_up_batch(shape, num_pieces=pieces, prompt_slot=PROMPT_SLOT)
        if options.child == "ours":

            def losses() -> Tensor:
                return batch_losses(objective, batch, device=device, bf16=options.bf16)
        else:
            losses = nemo_losses(objective.model, batch, options=options, optimizer=optimizer)
        taken = []
        for _ in range(options.repeats + 1):
            wall, cpu = time.perf_counter(), time.process_time()
            mean = losses().mean()
            mean.backward()
            # So small a rate that every step sees the same weights.
            move_weights(optimizer, parameters=parameters, scale=1.0, rate=1e-12, clip_norm=1.0)
            value = float(mean)
            taken.append((time.perf_counter() - wall, time.process_time() - cpu, value))
        return taken[1:] or taken

    before = peak_bytes(options.device)
    if options.largest:
        return {"largest_batch": largest(steps)}
    if options.profile:
        return {"self_time_share": shares(lambda: steps(options.utterances))}
    taken = steps(options.utterances)
    wall, cpu, loss = (statistics.median(column) for column in zip(*taken, strict=True))
    audio_s = options.utterances * options.duration_s
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "audio_s_per_s": audio_s / wall,
        "audio_s_per_cpu_s": audio_s / cpu,
        "loss": loss,
        "peak_gb": peak_bytes(options.device) / 1e9,
        "before_gb": before / 1e9,
    }


def shares(run: Callable[[], Any]) -> dict[str, float]:
    """Return the share of the time that the ten costliest operators take, what they call not counted."""
    with torch.profiler.profile() as profile:
        run()
    spent = {
        event.key: event.self_device_time_total or event.self_cpu_time_total
        for event in profile.key_averages()
    }
    total = sum(spent.values())
    costliest = sorted(spent, key=lambda name: spent[name], reverse=True)[:10]
    return {name: round(spent[name] / total, 3) for name in costliest}


def largest(steps: Callable[[int], Any]) -> int:
    """Return the largest number of utterances that fits, by doubling and halving."""

    def fits(utterances: int) -> bool:
        try:
            steps(utterances)
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def peak_bytes(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.step", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/benchmarks/small-encoder.nemo"))
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--largest", action="store_true")
    parser.add_argument("--profile", action="store_true", help="shares of the operators in place of times")
    parser.add_argument("--utterances", type=int, default=4)
    parser.add_argument("--duration-s", type=float, default=6.0)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.child:
        print(json.dumps(child(options)))
        return
    if not options.model.is_file():
        options.model.parent.mkdir(parents=True, exist_ok=True)
        write_full_size(options.model, size=FULL_SIZE if options.size == "full" else SMALL_ENCODER)
    found = {}
    for way in options.ways:
        command = [sys.executable, "-m", "tests.benchmarks.step", *sys.argv[1:], f"--child={way}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    print(
        json.dumps(
            {name: value for name, value in vars(options).items() if name != "model"} | found, default=str
        )
    )


if __name__ == "__main__":
    main()
