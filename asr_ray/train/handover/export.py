"""Handing over: the model of a run as one `.nemo`, with a record that says what it is.

    OUT/NAME.nemo    stock NeMo restores it
    OUT/NAME.json    hand-off record
    OUT/NAME.md      the same for people: a model card

A finished run leaves `best.nemo`, which is copied; any other checkpoint is put together from the base and its
weights, as the end of the run would have done. Neither touches the run.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_ray import metrics
from asr_ray.config import load
from asr_ray.errors import ConfigError, DataError
from asr_ray.evaluate.baseline import read_documents
from asr_ray.evaluate.results import SEAL
from asr_ray.files import write_whole
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import NemoArchive, inspect_nemo, sha256_of
from asr_ray.settings import ExportSettings, TrainSettings
from asr_ray.train.checkpoint import CheckpointStore, RunState, find_damage, read_state
from asr_ray.train.handover import handoff

BEST = "best.nemo"
_PACKAGES = ("asr-ray", "nemo-toolkit", "torch", "ray", "lhotse", "numpy", "sentencepiece")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was handed over.

    Attributes:
        record: content of the JSON file.
    """

    model: Path
    record_file: Path
    card: Path
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which weights are exported.

    Attributes:
        steps: of one checkpoint, or of those whose mean it is.
        state: of the newest of these checkpoints; None where it is gone.
        file: a `.nemo` that has the weights already.
        merged_adapters: of `file`.
    """

    steps: tuple[int, ...]
    state: RunState | None
    file: Path | None = None
    merged_adapters: int = 0


def export_run(settings: ExportSettings) -> Export:
    """Write model, record and card of a run; needs neither Ray nor a GPU.

    A file that is there already, of the same checkpoint and with the checksum of its record, is kept: an
    export may be repeated to add an evaluation of it.

    Raises:
        ConfigError: no run, no such checkpoint, or an evaluation of other files.
        DataError: the checkpoint is damaged.
    """
    run = _run_settings(settings.run_dir)
    source = choose_source(settings)
    paths = [settings.folder / f"{settings.stem}{suffix}" for suffix in (".nemo", ".json", ".md")]
    model, record_file, card = paths
    made_of = _reusable(model, record_file, source=source)
    if made_of is None:
        made_of = {"steps": list(source.steps), "merged_adapters": _write_model(model, source, run=run)}
    record = _record(settings, run=run, source=source, archive=inspect_nemo(model), made_of=made_of)
    write_whole(record_file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_whole(card, handoff.card(record))
    return Export(model=model, record_file=record_file, card=card, record=record)


def choose_source(settings: ExportSettings) -> Source:
    """Find the weights that are asked for.

    Raises:
        ConfigError: the run has no such checkpoint.
        DataError: the checkpoint is damaged.
    """
    store = CheckpointStore(settings.run_dir)
    newest = store.newest()
    if newest is None:
        raise ConfigError(
            f"{settings.run_dir} has no checkpoint", fix="wait for the first one, or correct run_dir"
        )
    if settings.checkpoint == "last":
        return Source(steps=(newest[1].step,), state=newest[1])
    if settings.checkpoint == "best":
        if (finished := _finished(settings.run_dir, newest=newest[1], store=store)) is not None:
            return finished
        if newest[1].best_step is None:
            raise ConfigError(
                f"{settings.run_dir} has no validated checkpoint yet",
                fix="set checkpoint=last, or wait for a validation",
            )
        return _of_step(newest[1].best_step, store=store)
    return _of_step(settings.checkpoint, store=store)


def _of_step(step: int, *, store: CheckpointStore) -> Source:
    if step not in store.steps():
        there = ", ".join(map(str, sorted(store.steps())))
        raise ConfigError(
            f"there is no checkpoint of step {step} in {store.folder}",
            fix=f"choose one of {there}; checkpoint.keep says how many a run keeps beside the best",
        )
    if (damage := find_damage(store.path(step))) is not None:
        raise DataError(f"{store.path(step)}: {damage}", fix="export another checkpoint")
    return Source(steps=(step,), state=read_state(store.path(step)))


def _finished(run_dir: Path, *, newest: RunState, store: CheckpointStore) -> Source | None:
    """`best.nemo`, unless the run went on since and found something better."""
    file, said = run_dir / BEST, (run_dir / BEST).with_suffix(".json")
    if not file.is_file() or not said.is_file():
        return None
    made_of = json.loads(said.read_text(encoding="utf-8"))
    # Without any validation the last step is the best there is.
    steps = tuple(made_of["steps"]) or (newest.step,)
    if newest.best_step is not None and newest.best_step not in steps:
        return None
    found = store.path(max(steps))
    state = read_state(found) if find_damage(found) is None else None
    return Source(steps=steps, state=state, file=file, merged_adapters=made_of.get("merged_adapters", 0))


def _reusable(model: Path, record_file: Path, *, source: Source) -> dict[str, Any] | None:
    """What the file that is there was made of, if it is the one that would be written."""
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        made_of: dict[str, Any] = record["made_of"]
        same = tuple(made_of["steps"]) == source.steps and record["model"]["sha256"] == sha256_of(model)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if source.file is not None and same:
        same = sha256_of(source.file) == record["model"]["sha256"]
    return made_of if same else None


def _write_model(path: Path, source: Source, *, run: TrainSettings) -> int:
    """Write the `.nemo`; return how many adapters were merged into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.file is None:
        return _build(path, step=source.steps[0], run=run)
    partial = path.with_name(f".{path.name}.partial")
    shutil.copyfile(source.file, partial)
    partial.replace(path)
    return source.merged_adapters


def _build(path: Path, *, step: int, run: TrainSettings) -> int:
    import torch

    from asr_ray.model.lora import merge_lora
    from asr_ray.model.nemo_file import load_model, save_model
    from asr_ray.train.loop import load_weights
    from asr_ray.train.step import objective_of

    cpu = torch.device("cpu")
    model = load_model(resolve_base(run.model.base), expected_sha256=run.model.sha256)
    objective = objective_of(model, settings=run, device=cpu)
    load_weights(objective, CheckpointStore(run.run_dir).path(step), device=cpu)
    corrected = merge_lora(objective.model)
    save_model(objective.model, path)
    return corrected


def _run_settings(run_dir: Path) -> TrainSettings:
    file = run_dir / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{run_dir} is no folder of a run: it has no config.yaml", fix="correct run_dir")
    # The folder may have been moved since.
    return load(file, schema=TrainSettings, sets=[f"run_dir={json.dumps(str(run_dir))}"]).settings


def _record(
    settings: ExportSettings,
    *,
    run: TrainSettings,
    source: Source,
    archive: NemoArchive,
    made_of: Mapping[str, Any],
) -> dict[str, Any]:
    contexts = (archive.config.get("encoder") or {}).get("att_context_size")
    consumed = source.state.consumed_s if source.state else {}
    return {
        "schema": handoff.SCHEMA,
        "name": settings.stem,
        "model": {
            "file": archive.path.name,
            "sha256": archive.sha256,
            "bytes": archive.path.stat().st_size,
            "class": archive.target,
            "architecture": archive.architecture,
            "vocabulary_size": archive.vocabulary_size,
            "att_context_sizes": contexts,
            "num_prompts": archive.prompt_table.num_slots,
            "prompts": dict(archive.prompt_table.slots),
        },
        "base": {"name": _base_name(run), "sha256": sha256_of(resolve_base(run.model.base))},
        "made_of": dict(made_of),
        "consumed_hours": {key: round(seconds / 3600, 4) for key, seconds in consumed.items()},
        "validation": _validation(settings.run_dir, steps=source.steps),
        "evaluation": _evaluations(settings.evaluation, sha256=archive.sha256) if settings.evaluation else [],
        "versions": dict(_versions()),
        "usage": handoff.usage(
            file=archive.path.name,
            context=run.validation.att_context_size,
            locale=run.validation.targets[0],
        ),
        "configuration": run.model_dump(mode="json"),
    }


def _base_name(run: TrainSettings) -> str:
    base = run.model.base
    # Of a path the name of the file: folders of one machine tell nobody anything.
    return Path(base).name if isinstance(base, str) else str(base)


def _validation(run_dir: Path, *, steps: Sequence[int]) -> dict[str, Any]:
    """Rates of the base and of these weights; None for what was not validated."""
    rows = list(metrics.read(metrics.metrics_path(run_dir)))
    validated = [row for row in rows if row["kind"] == "validation"]

    def first(matches: Callable[[metrics.Row], bool]) -> Any:
        return next((row["locales"] for row in reversed(rows) if matches(row)), None)

    if len(steps) > 1:
        of_model = first(lambda row: row["kind"] == "average" and row["of_steps"] == list(steps))
    else:
        of_model = first(lambda row: row["kind"] == "validation" and row["step"] == steps[0])
    return {"base": validated[0]["locales"] if validated else None, "model": of_model}


def _evaluations(path: Path, *, sha256: str) -> list[dict[str, Any]]:
    """Every condition under which this very file was evaluated.

    Raises:
        ConfigError: none.
    """
    found = [
        handoff.scores_of(document, model=name)
        for folder, document in read_documents(path, key="evaluation")
        for name in document["models"]
        if _sealed_sha256(folder / name / SEAL) == sha256
    ]
    if not found:
        raise ConfigError(
            f"evaluation {path} is none of the exported file (sha256 {sha256})",
            fix="evaluate the exported .nemo with jobs/evaluate.py, then export again",
        )
    return found


def _sealed_sha256(seal: Path) -> str | None:
    try:
        found: str = json.loads(seal.read_text(encoding="utf-8"))["model_sha256"]
    except (OSError, ValueError, KeyError):
        return None
    return found


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:  # of a checkout that is not installed
            continue
    return found
