"""Training steps on made-up batches: how long they take, how much memory they need, whether they fit.

The audio is noise and the tokens are random: what a step costs depends on the sizes, with one exception.
The loss leaves out cells that no path is likely to visit, and a model that knows what is said leaves out
more of them than one that hears noise, so the coefficient of the lattice is at its upper end.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from asr_ray.errors import EnvironmentFault
from asr_ray.records import SAMPLE_RATE, Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.train.calibration.record import Device, Point, Shape
from asr_ray.train.loop import seed_everything
from asr_ray.train.step import batch_losses, move_weights, objective_of, optimizer_of, trained_parameters

_LOUDNESS = 3000
"""Standard deviation of the noise, in steps of 16-bit audio."""


class Bench(Protocol):
    """A device that takes training steps."""

    def step(self, shape: Shape) -> Point:
        """Take one step and measure it."""
        ...

    def fits(self, shape: Shape) -> bool:
        """Whether a step with such a batch has enough memory; costs a step."""
        ...


class TorchBench:
    """The training step of a run on one device; its weights never move.

    Args:
        settings: of the run.
        model: base model, in any mode, on any device.
        num_pieces: size of the vocabulary without the blank.
        prompt_slot: of every utterance.
        clock: seconds; on a CPU with one thread, `time.process_time` leaves out what others take of it.
    """

    def __init__(
        self,
        settings: TrainSettings,
        *,
        model: nn.Module,
        device: torch.device,
        num_pieces: int,
        prompt_slot: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.device = device
        self.num_pieces = num_pieces
        self.prompt_slot = prompt_slot
        self.objective = objective_of(model, settings=settings, device=device).train()
        self.parameters = trained_parameters(self.objective)
        self.optimizer = optimizer_of(self.objective, optim=settings.optim)
        # DDP keeps a second copy of the gradients, which one device alone would not show.
        on_ranks = settings.resources.max_workers > 1 and device.type == "cuda"
        self.buckets = [torch.empty_like(weight) for weight in self.parameters] if on_ranks else []

    def step(self, shape: Shape) -> Point:
        """Take one step and measure it, from the batch in main memory to the moved weights.

        Raises:
            EnvironmentFault: the batch does not fit into the device's memory.
        """
        batch = made_up_batch(shape, num_pieces=self.num_pieces, prompt_slot=self.prompt_slot)
        step_s = self.seconds(batch)
        return Point(shape=shape, step_s=step_s, peak_bytes=self._peak_bytes())

    def seconds(self, batch: Batch) -> float:
        """Take one step with a batch of any kind; raises as `step`."""
        seed_everything(self.settings.seed, position=batch.position, rank=0)
        self._start_of_memory()
        self._wait()
        started = self.clock()
        if not self._update(batch):
            longest_s, most_tokens = batch.audio.shape[1] / SAMPLE_RATE, batch.tokens.shape[1]
            raise EnvironmentFault(
                f"a batch of {len(batch)} utterances of {longest_s:g} s and {most_tokens} tokens does not "
                "fit into the memory of the device",
                fix="lower data.batch_s, or set it to null together with data.calibration",
            )
        self._wait()
        return self.clock() - started

    def fits(self, shape: Shape) -> bool:
        """Whether a step with such a batch has enough memory; costs a step."""
        batch = made_up_batch(shape, num_pieces=self.num_pieces, prompt_slot=self.prompt_slot)
        return self._update(batch)

    def _update(self, batch: Batch) -> bool:
        """Take a step; return False when memory ran out, and leave none of it taken."""
        try:
            self._take(batch)
        except torch.OutOfMemoryError:
            fitted = False
        else:
            fitted = True
        if not fitted:
            # Outside of the handler: its traceback holds on to every tensor of the step.
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return fitted

    def _take(self, batch: Batch) -> None:
        """Take the step of the loop at a learning rate of 0."""
        bf16 = self.settings.precision == "bf16"
        losses = batch_losses(self.objective, batch, device=self.device, bf16=bf16)
        losses.sum().backward()
        move_weights(
            self.optimizer,
            parameters=self.parameters,
            scale=1.0 / len(batch),
            # AdamW multiplies its decay by the rate, too: the same work, and no weight moves.
            rate=0.0,
            clip_norm=self.settings.optim.clip_norm,
        )

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _start_of_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def _peak_bytes(self) -> int | None:
        # The high-water mark of a process on the CPU is that of everything it ever did.
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None


def made_up_batch(shape: Shape, *, num_pieces: int, prompt_slot: int) -> Batch:
    """Return noise with random tokens; the same for equal shapes."""
    count, num_samples = shape.utterances, round(shape.duration_s * SAMPLE_RATE)
    rng = np.random.default_rng([count, num_samples, shape.num_tokens])
    audio = rng.standard_normal((count, num_samples), dtype=np.float32) * _LOUDNESS
    start = Position()
    return Batch(
        audio=np.clip(audio, -32768, 32767).astype(np.int16),
        num_samples=np.full(count, num_samples, dtype=np.int64),
        tokens=rng.integers(num_pieces, size=(count, shape.num_tokens), dtype=np.int64),
        num_tokens=np.full(count, shape.num_tokens, dtype=np.int64),
        prompt_slots=np.full(count, prompt_slot, dtype=np.int64),
        ids=tuple(map(str, range(count))),
        locales=("",) * count,
        sources=("",) * count,
        durations_s=np.full(count, shape.duration_s),
        position=start,
        next_position=start,
    )


@contextlib.contextmanager
def limited_memory(device: torch.device, *, headroom: float) -> Iterator[None]:
    """Let this process allocate only 1 - `headroom` of a GPU's memory meanwhile."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(1.0 - headroom, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def training_device(*, use_gpu: bool) -> torch.device:
    """Return the first GPU that this process sees, or the CPU.

    Raises:
        EnvironmentFault: there is no GPU.
    """
    if not use_gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EnvironmentFault(
            "resources.gpus_per_worker is above 0, and this process sees no GPU",
            fix="run this job on a machine with one (`ray job submit --entrypoint-num-gpus 1`), "
            "or set resources.gpus_per_worker=0",
        )
    return torch.device("cuda", 0)


def describe_device(device: torch.device) -> Device:
    """Name, memory and versions of a device."""
    gpu = device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if gpu else None
    return Device(
        name=properties.name if properties else _cpu_name(),
        memory_bytes=properties.total_memory if properties else None,
        threads=None if gpu else torch.get_num_threads(),
        torch=str(torch.__version__),
        cuda=torch.version.cuda if gpu else None,
    )


def _cpu_name() -> str:
    """What the kernel calls the processor; `platform` knows only its family on Linux."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
