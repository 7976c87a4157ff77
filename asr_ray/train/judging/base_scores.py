"""What the base model makes of the validation utterances, measured once for all runs that start from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr_ray.data.catalog import Catalog
from asr_ray.data.heldout import read_heldout
from asr_ray.errors import ConfigError
from asr_ray.files import write_whole
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import load_model, quiet_nemo
from asr_ray.settings import TrainSettings
from asr_ray.train.group import Worker
from asr_ray.train.judging.validate import LocaleRates, Row, counts_path, validate
from asr_ray.train.step import apply_model_settings, set_up_torch


@dataclass(frozen=True, slots=True)
class BaseScores:
    """Rates of each locale, and the counts of each utterance that they come from."""

    locales: LocaleRates
    rows: Sequence[Row]


def measure_base(settings: TrainSettings, *, path: Path) -> None:
    """Decode the validation utterances with the base model of a run, and leave its scores at `path`."""
    set_up_torch(settings.resources)
    device = torch.device("cuda" if settings.resources.use_gpu else "cpu")
    worker = Worker(rank=0, world_size=1, device=device, batches=lambda _: iter(()), report=lambda _: None)
    with quiet_nemo():
        model = load_model(
            resolve_base(settings.model.base), device=device, expected_sha256=settings.model.sha256
        )
    apply_model_settings(model, settings=settings)
    utterances = read_heldout(
        settings.data.validation,
        locales=[*settings.validation.targets, *settings.validation.guards],
        utterances_per_locale=settings.validation.utterances_per_locale,
    )
    file = counts_path(path.parent / "base", step=0)
    rates = validate(model, utterances=utterances, worker=worker, settings=settings, counts_file=file)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    tree = {"of": judged(settings), "locales": rates, "utterances": rows}
    write_whole(path, json.dumps(tree, ensure_ascii=False))


def read_base_scores(path: Path, *, settings: TrainSettings) -> BaseScores:
    """Return what `measure_base` left at `path`.

    Raises:
        ConfigError: there is nothing, or it was measured for another base model or other utterances.
    """
    fix = "let validation.base_scores be null, or measure them again"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"validation.base_scores: {path} cannot be read: {error}", fix=fix) from error
    here, there = judged(settings), tree.get("of", {})
    if differing := sorted(key for key in here if here[key] != there.get(key)):
        raise ConfigError(
            f"validation.base_scores: {path} is of another {', '.join(differing)} than this run", fix=fix
        )
    return BaseScores(tree["locales"], tree["utterances"])


def judged(settings: TrainSettings) -> dict[str, Any]:
    """Return all that the scores of a base depend on, as plain values."""
    base = resolve_base(settings.model.base)
    validation = settings.validation
    added = settings.model.new_locales or {}
    tree = {
        "model": [base.name, base.stat().st_size],
        "validation set": Catalog.read(settings.data.validation / "catalog.parquet").digest,
        "locales": sorted([*validation.targets, *validation.guards]),
        "number of utterances": validation.utterances_per_locale,
        "context": list(validation.att_context_size),
        "new locales": {tag: new.model_dump(mode="json") for tag, new in added.items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(tree))
    return plain
