"""The end of a run: its best weights, or the mean of its best few if that is better, as a plain `.nemo`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr_ray.files import write_whole
from asr_ray.model.lora import merge_lora
from asr_ray.model.nemo_file import quiet_nemo, save_model
from asr_ray.settings import TrainSettings
from asr_ray.train.checkpoint import find_damage
from asr_ray.train.judging.choice import best_steps, judgements
from asr_ray.train.judging.validate import LocaleRates, validate
from asr_ray.train.loop import Loop, load_weights

log = logging.getLogger(__name__)

WEIGHTS = "model.pt"


def export_model(loop: Loop, *, path: Path) -> None:
    """Leave the model of a finished run at `path`, and what it was made of beside it (`best.json`).

    All ranks call it: a mean of checkpoints is validated by all of them.
    """
    # Rank 0 decides, after its last commit: the others may look into the folder while it is still writing.
    steps = loop.worker.gather(_steps_at_hand(loop))[0]
    made_of = steps[:1]
    if len(steps) > 1 and _mean_is_better(loop, steps=steps):
        made_of = steps
    elif steps and (len(steps) > 1 or steps[0] != loop.state.step):
        load_weights(loop.objective, loop.store.path(steps[0]), device=loop.worker.device)
    if loop.worker.rank == 0:
        corrected = merge_lora(loop.objective.model)
        with quiet_nemo():
            save_model(loop.objective.model, path)
        record = {"base": str(loop.settings.model.base), "steps": made_of, "merged_adapters": corrected}
        write_whole(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")


def mean_of_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of each weight over saved state dictionaries of one model; counters of the first file.

    In main memory, where three copies of a model have room: the sum before, one file, the sum after.
    """
    total = _read(files[0])
    for file in files[1:]:
        weights = _read(file)
        # Not in place: a module that has two names has one tensor, which would count twice.
        total = {
            name: weight + weights[name] if weight.is_floating_point() else weight
            for name, weight in total.items()
        }
    return {
        name: weight / len(files) if weight.is_floating_point() else weight for name, weight in total.items()
    }


def _read(file: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def _steps_at_hand(loop: Loop) -> list[int]:
    """The best steps whose checkpoints are there: a resumed run may ask for more of them than it kept."""
    steps = best_steps(loop.state.validations, settings=loop.settings)
    return [step for step in steps if find_damage(loop.store.path(step)) is None]


def _mean_is_better(loop: Loop, *, steps: Sequence[int]) -> bool:
    """Load the mean of the checkpoints and validate it; return whether it beats the best of them."""
    files = [loop.store.path(step) / WEIGHTS for step in steps]
    loop.objective.load_state_dict(mean_of_weights(files))
    scores = validate(
        loop.objective.model, utterances=loop.validation, worker=loop.worker, settings=loop.settings
    )
    better = is_better(scores, than=steps[0], validations=loop.state.validations, settings=loop.settings)
    if loop.worker.rank == 0:
        row: dict[str, Any] = {"kind": "average", "step": loop.state.step, "of_steps": list(steps)}
        loop.metrics.append(row | {"locales": scores, "taken": better})
        log.info(
            "mean of steps %s is %s than step %s", list(steps), "better" if better else "no better", steps[0]
        )
    return better


def is_better(
    scores: LocaleRates, *, than: int, validations: Sequence[Mapping[str, Any]], settings: TrainSettings
) -> bool:
    """Whether rates are judged strictly better than those of a validated step, the guards counted first."""
    averaged = -1
    judged = judgements([*validations, {"step": averaged, "locales": scores}], settings=settings)
    return judged[averaged].order < judged[than].order
