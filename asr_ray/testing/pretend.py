"""Trials without a model: seconds in place of minutes, and everything else of a sweep is real.

A pretended run keeps the promises of a real one that a sweep relies on: rows of metrics, committed
checkpoints, going on from them, ending when asked. Its error rates follow from its configuration.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_ray.files import write_whole
from asr_ray.metrics import MetricsFile, metrics_path, read
from asr_ray.records import Position
from asr_ray.settings import TrainSettings
from asr_ray.sweep.book import BASE_SCORES
from asr_ray.sweep.trial import DONE, PAUSED, RUNG, Task, Tell, state_of, take_over
from asr_ray.train.checkpoint import CheckpointStore, RunState
from asr_ray.train.judging.base_scores import judged
from asr_ray.train.judging.validate import counts_path, write_rows
from asr_ray.train.survival.stopping import stop_file

BEST_ALPHA = 0.3
"""Exponent of the mix with the lowest error rate."""

DEADLY_LR = 1.0
"""From this peak learning rate on, the driver of a trial dies without a word."""

BASE_RATE = 0.8
STEP_S = 0.05
AUDIO_S_PER_STEP = 10.0

_TOKENS, _UTTERANCES = 100, 5


def pretend(task: Task, *, tell: Tell) -> None:
    """Do as `asr_ray.sweep.trial.drive` does."""
    settings, run_dir = task.settings, task.settings.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    if task.parent is not None:
        take_over(task.parent, run_dir=run_dir)
    stop_file(run_dir).unlink(missing_ok=True)
    step = int(state_of(run_dir).get("step", 0))
    with (run_dir / "starts").open("a", encoding="utf-8") as stream:
        stream.write(f"{step}\n")
    metrics = MetricsFile(run_dir)
    metrics.truncate(step=step)
    for row in read(metrics_path(run_dir)):
        tell({RUNG: row})
    until = task.until_step or settings.max_steps
    while step < until:
        time.sleep(STEP_S)
        step += 1
        if settings.optim.peak_lr >= DEADLY_LR:
            os._exit(1)
        if stop_file(run_dir).exists():
            _commit(run_dir, step=step)
            tell({PAUSED: state_of(run_dir)})
            return
        if step % settings.validation.every_steps == 0 or step == until:
            row = _validated(settings, step=step)
            metrics.append(row)
            _commit(run_dir, step=step)
            tell({RUNG: row})
    if step == settings.max_steps:
        (run_dir / "best.nemo").write_bytes(b"weights")
    tell({DONE: state_of(run_dir)})


def starts(run_dir: Path) -> list[int]:
    """Return the steps that a pretended run was started at, each time that it was."""
    return [int(line) for line in (run_dir / "starts").read_text(encoding="utf-8").split()]


def write_base(settings: TrainSettings, *, out: Path) -> Path:
    """Leave scores of a base model that was never decoded, as a sweep in `out` expects them."""
    locales = [*settings.validation.targets, *settings.validation.guards]
    rows = _rows(dict.fromkeys(locales, BASE_RATE))
    tree = {
        "of": judged(settings),
        "locales": {locale: {"rate": BASE_RATE} for locale in locales},
        "utterances": rows,
    }
    write_whole(out / BASE_SCORES, json.dumps(tree))
    return out / BASE_SCORES


def _validated(settings: TrainSettings, *, step: int) -> dict[str, Any]:
    rate = round(0.2 + (settings.data.mix.alpha - BEST_ALPHA) ** 2 + 0.5 / step, 2)
    rates = dict.fromkeys(settings.validation.targets, rate) | dict.fromkeys(settings.validation.guards, 0.1)
    write_rows(counts_path(settings.run_dir, step=step), _rows(rates))
    return {
        "kind": "validation",
        "step": step,
        "locales": {locale: {"rate": own} for locale, own in rates.items()},
        "audio_s": AUDIO_S_PER_STEP * step,
        "elapsed_s": STEP_S * step,
    }


def _rows(rates: Mapping[str, float]) -> list[dict[str, str | int]]:
    return [
        {
            "id": f"{locale}-{index}",
            "locale": locale,
            "speaker": "",
            "errors": round(rate * _TOKENS),
            "tokens": _TOKENS,
        }
        for locale, rate in rates.items()
        for index in range(_UTTERANCES)
    ]


def _commit(run_dir: Path, *, step: int) -> None:
    state = RunState(
        step=step,
        position=Position(step=step),
        world_size=1,
        plan_digest="",
        consumed_s={"el-GR/noise": AUDIO_S_PER_STEP * step},
        elapsed_s=STEP_S * step,
    )
    store = CheckpointStore(run_dir)
    store.commit(state, writers={})
    store.prune(keep=2, pinned=())
