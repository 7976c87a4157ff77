"""Measure the transducer loss: `python -m tests.benchmarks.loss --help`. Prints one JSON line per part.

speed   forward + backward at B=22, T=36, U=14, V=192 against NeMo's CPU losses. Ours includes the output
        layer of the joint, so the others are timed both with it and alone (on ready logits). Times are the
        best of the repeats, elapsed and of the processor; the latter stays true on a busy machine when
        there is one thread.
memory  peak memory of forward + backward at V=13,088, B=8, T=150, U=60 against the same joint kept whole,
        followed by log_softmax and the lattice. One fresh process for each, as peaks are never forgotten.
large   forward + backward of ours at V=13,088, B=16, T=250, U=80: lattice cells per second.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from asr_ray.model.lattice import PackedLattice, forward_backward
from asr_ray.model.transducer import DEFAULT_TILE_CELLS, transducer_loss

PARTS = ("speed", "memory", "large")


@dataclass(frozen=True)
class Size:
    """B utterances of T frames and U tokens, all of full length, over V pieces and a joint of width H."""

    batch: int
    frames: int
    tokens: int
    pieces: int
    hidden: int

    @property
    def num_cells(self) -> int:
        return self.batch * self.frames * (self.tokens + 1)


SPEED = Size(batch=22, frames=36, tokens=14, pieces=192, hidden=128)
MEMORY = Size(batch=8, frames=150, tokens=60, pieces=13_088, hidden=640)
LARGE = Size(batch=16, frames=250, tokens=80, pieces=13_088, hidden=640)


@dataclass(frozen=True)
class Batch:
    """Joint inputs, weights and references."""

    size: Size
    parameters: tuple[Tensor, ...]
    tokens: Tensor
    num_frames: Tensor
    num_tokens: Tensor

    @classmethod
    def random(cls, size: Size, *, device: str, dtype: torch.dtype) -> Batch:
        generator = torch.Generator().manual_seed(0)
        outputs = size.pieces + 1
        shapes = (
            (size.batch, size.frames, size.hidden),
            (size.batch, size.tokens + 1, size.hidden),
            (outputs, size.hidden),
            (outputs,),
        )
        values = (torch.randn(s, generator=generator) * 0.3 for s in shapes)
        return cls(
            size=size,
            parameters=tuple(v.to(device, dtype).requires_grad_() for v in values),
            tokens=torch.randint(size.pieces, (size.batch, size.tokens), generator=generator).to(device),
            num_frames=torch.full((size.batch,), size.frames, device=device),
            num_tokens=torch.full((size.batch,), size.tokens, device=device),
        )

    def logits(self) -> Tensor:
        encoded, predicted, weight, bias = self.parameters
        return (encoded.unsqueeze(2) + predicted.unsqueeze(1)).relu() @ weight.T + bias

    def packed_loss(self, tile_cells: int) -> Tensor:
        encoded, predicted, weight, bias = self.parameters
        return transducer_loss(
            encoded,
            predicted,
            output_weight=weight,
            output_bias=bias,
            tokens=self.tokens,
            num_frames=self.num_frames,
            num_tokens=self.num_tokens,
            blank=self.size.pieces,
            tile_cells=tile_cells,
        )

    def unpacked_loss(self) -> Tensor:
        """Joint and log_softmax over the whole lattice; the lattice itself costs nothing beside them."""
        log_probs = self.logits().log_softmax(-1, dtype=torch.float32)
        padded = torch.nn.functional.pad(self.tokens, (0, 1), value=self.size.pieces)
        index = padded[:, None, :, None].expand(-1, self.size.frames, -1, 1)
        return diagonal_loss(log_probs[..., self.size.pieces], log_probs.gather(-1, index).squeeze(-1))


def diagonal_loss(blank: Tensor, label: Tensor) -> Tensor:
    """-log-likelihoods of full-length utterances from arc log-probabilities [B, T, U + 1], by autograd."""
    frames, width = blank.shape[1:]
    alpha = torch.cat((blank.new_zeros(len(blank), 1), label[:, 0, :-1].cumsum(1)), dim=1)
    for t in range(1, frames):
        by_blank = alpha + blank[:, t - 1]
        # alpha(u) = logsumexp over v <= u of by_blank(v) + the labels from v to u, in one scan
        labels = torch.cat((blank.new_zeros(len(blank), 1), label[:, t, :-1].cumsum(1)), dim=1)
        alpha = (by_blank - labels).logcumsumexp(1) + labels
    return -(alpha[:, width - 1] + blank[:, -1, width - 1])


@dataclass(frozen=True)
class Seconds:
    """Elapsed time, and processor time over all threads."""

    wall: float
    cpu: float

    def times(self, other: Seconds) -> Seconds:
        return Seconds(self.wall / other.wall, self.cpu / other.cpu)


def best_seconds(run: Callable[[], object], *, repeats: int) -> Seconds:
    """Shortest of the repeats, after one warm-up."""
    runs = []
    for _ in range(repeats + 1):
        synchronise()
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        synchronise()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*runs[1:], strict=True)
    return Seconds(min(walls), min(cpus))


def step_seconds(loss: Callable[[], Tensor], inputs: tuple[Tensor, ...], *, repeats: int) -> Seconds:
    """Time of forward + backward."""
    return best_seconds(lambda: torch.autograd.grad(loss().sum(), inputs), repeats=repeats)


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_speed(options: argparse.Namespace) -> dict[str, Any]:
    """Ours against NeMo's default CPU loss and its PyTorch reference."""
    from nemo.collections.asr.losses.rnnt_pytorch import RNNTLossPytorch
    from nemo.collections.asr.parts.numba.rnnt_loss import RNNTLossNumba

    batch = Batch.random(SPEED, device=options.device, dtype=torch.float32)
    peers = {
        "warprnnt_numba": RNNTLossNumba(blank=SPEED.pieces, reduction="none"),
        "pytorch": RNNTLossPytorch(blank=SPEED.pieces, reduction="none").forward,
    }
    ours = step_seconds(
        lambda: batch.packed_loss(options.tile_cells), batch.parameters, repeats=10 * options.repeats
    )
    return {
        "ours_s": asdict(ours),
        **{name: compare(loss, batch, ours, options.repeats) for name, loss in peers.items()},
    }


def compare(loss: Callable[..., Tensor], batch: Batch, ours: Seconds, repeats: int) -> dict[str, Any]:
    references = (batch.tokens, batch.num_frames, batch.num_tokens)
    logits = batch.logits().detach().requires_grad_()
    joint = step_seconds(lambda: loss(batch.logits(), *references), batch.parameters, repeats=repeats)
    alone = step_seconds(lambda: loss(logits, *references), (logits,), repeats=repeats)
    return {
        "joint_and_loss_s": asdict(joint),
        "loss_alone_s": asdict(alone),
        "times_faster": asdict(joint.times(ours)),
        "times_faster_than_loss_alone": asdict(alone.times(ours)),
    }


def measure_memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peak of each way in its own process."""
    peaks = {}
    for way in ("packed", "unpacked"):
        arguments = [f"--{key.replace('_', '-')}={value}" for key, value in vars(options).items() if value]
        command = [sys.executable, "-m", "tests.benchmarks.loss", *arguments, f"--child={way}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[way] = json.loads(done.stdout)
    ours, theirs = peaks["packed"], peaks["unpacked"]
    return {
        **peaks,
        "times_less": theirs["peak_bytes"] / ours["peak_bytes"],
        "times_less_above_baseline": (theirs["peak_bytes"] - theirs["baseline_bytes"])
        / (ours["peak_bytes"] - ours["baseline_bytes"]),
        "relative_difference_of_losses": abs(ours["loss"] / theirs["loss"] - 1),
    }


def memory_child(way: str, options: argparse.Namespace) -> dict[str, float]:
    # Gradients of improbable cells are denormal numbers, on which the whole joint would spend many minutes.
    torch.set_flush_denormal(True)
    batch = Batch.random(MEMORY, device=options.device, dtype=getattr(torch, options.dtype))
    baseline = peak_bytes(options.device)
    start = time.perf_counter()
    losses = batch.packed_loss(options.tile_cells) if way == "packed" else batch.unpacked_loss()
    torch.autograd.grad(losses.sum(), batch.parameters)
    synchronise()
    seconds = time.perf_counter() - start
    peak = peak_bytes(options.device)
    return {
        "baseline_bytes": baseline,
        "peak_bytes": peak,
        "seconds": seconds,
        "loss": losses.mean().item(),
    }


def peak_bytes(device: str) -> int:
    """Highest memory so far: of the GPU allocator, or resident in this process (imports included)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_large(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of ours at the size of a real batch, and the share of the lattice in it."""
    batch = Batch.random(LARGE, device=options.device, dtype=getattr(torch, options.dtype))
    seconds = step_seconds(
        lambda: batch.packed_loss(options.tile_cells), batch.parameters, repeats=options.repeats
    )
    # One matrix product forward; recomputation and two gradients backward.
    flops = 4 * 2 * LARGE.num_cells * LARGE.hidden * (LARGE.pieces + 1)
    return {
        "seconds": seconds.wall,
        "cells_per_s": LARGE.num_cells / seconds.wall,
        "teraflops": flops / seconds.wall / 1e12,
        "lattice_s": lattice_seconds(LARGE, options).wall,
        "peak_bytes": peak_bytes(options.device),
    }


def lattice_seconds(size: Size, options: argparse.Namespace) -> Seconds:
    """Time of the forward-backward algorithm alone."""
    lattice = PackedLattice((size.frames,) * size.batch, (size.tokens,) * size.batch)
    arcs = -torch.rand(2, lattice.num_cells, device=options.device) * 5
    return best_seconds(lambda: forward_backward(lattice, arcs[0], arcs[1]), repeats=options.repeats)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loss", description=__doc__)
    parser.add_argument("--part", choices=PARTS, default="speed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tile-cells", type=int, default=DEFAULT_TILE_CELLS)
    parser.add_argument("--child", choices=("packed", "unpacked"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(memory_child(options.child, options)))
        return
    parts = {
        "speed": (SPEED, measure_speed),
        "memory": (MEMORY, measure_memory),
        "large": (LARGE, measure_large),
    }
    size, measure = parts[options.part]
    settings = {key: value for key, value in vars(options).items() if key != "child"}
    print(json.dumps({**settings, "size": asdict(size), **measure(options)}))


if __name__ == "__main__":
    main()
