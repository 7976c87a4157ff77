"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from asr_ray.settings import OptimSettings


def learning_rate(step: int, *, optim: OptimSettings, max_steps: int) -> float:
    """Return the learning rate of update `step` (from 0).

    Linear warm-up to `peak_lr`, then constant, or half a cosine down to `min_lr` at `max_steps`.
    """
    if step < optim.warmup_steps:
        return optim.peak_lr * (step + 1) / optim.warmup_steps
    if optim.schedule == "constant":
        return optim.peak_lr
    progress = min(1.0, (step - optim.warmup_steps) / max(1, max_steps - optim.warmup_steps))
    return optim.min_lr + (optim.peak_lr - optim.min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
