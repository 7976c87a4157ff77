"""What a run does when: learning rate, validations, batches of an update; pure functions of its progress."""

from __future__ import annotations

import math

from asr_ray.settings import OptimSettings, ValidationSettings


def learning_rate(step: int, *, optim: OptimSettings, max_steps: int) -> float:
    """Return the learning rate of update `step` (from 0).

    Linear warm-up to `peak_lr`, then one of: `constant`; `cosine`, half a one down to `min_lr` at
    `max_steps`; `wsd`, constant until the last `decay_share` of the run, then down to `min_lr` with one minus
    the square root of the progress, which arXiv:2405.18392 found better than a line.
    """
    if step < optim.warmup_steps:
        return optim.peak_lr * (step + 1) / optim.warmup_steps
    height = _height(step, optim=optim, max_steps=max_steps)
    return height * optim.peak_lr + (1.0 - height) * optim.min_lr


def _height(step: int, *, optim: OptimSettings, max_steps: int) -> float:
    """Return where between `min_lr` (0) and `peak_lr` (1) the rate is after the warm-up."""
    if optim.schedule == "constant":
        return 1.0
    first = optim.warmup_steps if optim.schedule == "cosine" else max_steps - optim.decay_steps(max_steps)
    progress = min(1.0, max(0.0, (step - first) / max(1, max_steps - first)))
    return 0.5 * (1.0 + math.cos(math.pi * progress)) if optim.schedule == "cosine" else 1.0 - progress**0.5


def accumulated_batches(global_batch_s: float, *, batch_s: float, num_workers: int) -> int:
    """Return how many batches of each rank come nearest to an update of `global_batch_s`; at least one.

    Args:
        global_batch_s: padded seconds of an update over all ranks.
        batch_s: padded seconds of the largest batch of one rank; batches of a plan are nearly that large.
    """
    return max(1, round(global_batch_s / (batch_s * num_workers)))


def validation_due(validation: ValidationSettings, *, step: int, audio_s: tuple[float, float]) -> bool:
    """Whether the weights are judged after a step.

    Args:
        step: updates taken.
        audio_s: seconds of audio consumed before the step and after it.
    """
    if validation.every_hours is None:
        return step % validation.every_steps == 0
    before, after = (math.floor(seconds / (3600 * validation.every_hours)) for seconds in audio_s)
    return after > before
