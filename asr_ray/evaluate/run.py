"""Decode models on test speech, score them, leave results and a report for each condition."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from asr_ray.evaluate.conditions import Condition, conditions_of
from asr_ray.evaluate.examples import choose_examples
from asr_ray.evaluate.normalise import NORMALISER_VERSION
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.paired import PairedResult, compare, metrics_document
from asr_ray.evaluate.pool import decode_pieces
from asr_ray.evaluate.report import ReportData, write_report
from asr_ray.evaluate.results import Decoded, PartialResults, decoding, find_results
from asr_ray.evaluate.score import EvalReport, score_pairs
from asr_ray.evaluate.testsets import TestSet, open_test_sets
from asr_ray.evaluate.work import Piece, Task, pieces
from asr_ray.metrics import metrics_path, read
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import sha256_of
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings

METRICS = "metrics.json"

Progress = Callable[[str, float], None]
"""Told what is being done and which share of it is finished."""


def _no_progress(stage: str, share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Outcome under one condition, by model in the order of the settings.

    Attributes:
        out: folder of the condition.
        document: content of its `metrics.json`.
    """

    condition: Condition
    out: Path
    reports: Mapping[str, EvalReport]
    paired: Sequence[PairedResult]
    policy: GuardPolicy
    document: Mapping[str, Any]


def run_evaluation(settings: EvaluateSettings, *, progress: Progress = _no_progress) -> list[Evaluation]:
    """Decode and score every model under every condition on the connected Ray cluster.

    Leaves `<model>/results.jsonl` (raw hypotheses), `metrics.json` and `report.html` for each condition, see
    `conditions` for the folders. What was decoded before is reused, and what a stopped run has decoded too,
    see `results`.

    Args:
        progress: called after each piece.

    Raises:
        ConfigError: a model or test set does not exist.
        DataError: the data has no utterance of a wanted locale, or a row that cannot be decoded.
    """
    paths = {name: resolve_base(model).resolve() for name, model in settings.models.items()}
    test_sets = open_test_sets(
        settings,
        tokenizer=lambda: NemoTokenizer.from_nemo(next(iter(paths.values()))),
        progress=progress,
    )
    digests = {name: sha256_of(path) for name, path in paths.items()}
    decoded = _decoded(settings, paths=paths, digests=digests, test_sets=test_sets, progress=progress)
    models = {name: f"{path.name}, sha256 {digests[name]}" for name, path in paths.items()}
    evaluations = [
        _evaluate(
            settings,
            condition=condition,
            out=out,
            decoded={name: decoded[Task(name, condition)] for name in settings.models},
            models=models,
        )
        for condition, out in conditions_of(settings).items()
    ]
    if len(evaluations) > 1:
        together = {each.condition.name: each.document for each in evaluations}
        _write_json(settings.out / METRICS, {"evaluations": together})
    return evaluations


def _evaluate(
    settings: EvaluateSettings,
    *,
    condition: Condition,
    out: Path,
    decoded: Mapping[str, Decoded],
    models: Mapping[str, str],
) -> Evaluation:
    """Score what was decoded under one condition; leave metrics and reports."""
    reports = {name: score_pairs(result.rows, seed=settings.seed) for name, result in decoded.items()}
    base, *others = decoded
    paired = [
        result
        for name in others
        for result in compare(
            decoded[base].rows, decoded[name].rows, baseline=base, candidate=name, seed=settings.seed
        )
    ]
    document = metrics_document(
        reports,
        paired=paired,
        context=condition.att_context_size,
        mode=condition.mode,
        prompt=condition.prompt,
    )
    document |= {"data": condition.data, "precision": condition.precision, "speed": _speeds(decoded)}
    _write_json(out / METRICS, document)
    policy = GuardPolicy(
        targets=tuple(tag for tag in reports[base].locales if tag not in settings.guards),
        guards=tuple(settings.guards),
        max_guard_loss=settings.max_guard_loss,
    )
    evaluation = Evaluation(
        condition=condition, out=out, reports=reports, paired=paired, policy=policy, document=document
    )
    for name in others or [base]:
        data = _report_data(settings, evaluation, candidate=name, decoded=decoded, models=models)
        # A report shows two models; beyond the second, each candidate has one of its own.
        file = "report.html" if name in (base, *others[:1]) else f"report-{name}.html"
        write_report(out / file, data=data)
    return evaluation


def _speeds(decoded: Mapping[str, Decoded]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "audio_s": round(result.audio_s, 3),
            "decode_s": round(result.decode_s, 3),
            "rtfx": round(result.rtfx, 2),
        }
        for name, result in decoded.items()
    }


def _decoded(
    settings: EvaluateSettings,
    *,
    paths: Mapping[str, Path],
    digests: Mapping[str, str],
    test_sets: Mapping[str, TestSet],
    progress: Progress,
) -> dict[Task, Decoded]:
    """Return the hypotheses of every model under every condition, decoding those that are not there yet."""
    found: dict[Task, Decoded] = {}
    open_tasks: dict[Task, PartialResults] = {}
    for condition, out in conditions_of(settings).items():
        for name, digest in digests.items():
            task, folder = Task(name, condition), out / name
            catalog_digest = test_sets[condition.data].catalog.digest
            seal = decoding(settings, condition=condition, model_sha256=digest, catalog_digest=catalog_digest)
            if (finished := find_results(folder, decoded=seal)) is not None:
                found[task] = finished
            else:
                open_tasks[task] = PartialResults(folder, decoded=seal)
    if open_tasks:
        _decode(settings, paths=paths, test_sets=test_sets, open_tasks=open_tasks, progress=progress)
    return found | {task: partial.finish() for task, partial in open_tasks.items()}


def _decode(
    settings: EvaluateSettings,
    *,
    paths: Mapping[str, Path],
    test_sets: Mapping[str, TestSet],
    open_tasks: Mapping[Task, PartialResults],
    progress: Progress,
) -> None:
    """Decode what each task lacks, and write it down as it comes."""
    total_s = sum(test_sets[task.condition.data].audio_s for task in open_tasks)
    done_s = sum(row.duration_s for partial in open_tasks.values() for row, _ in partial.rows.values())
    progress("decode", done_s / total_s)
    work = _work_left(settings, test_sets=test_sets, open_tasks=open_tasks)
    if not work:
        return
    for outcome in decode_pieces(work, test_sets=test_sets, paths=paths, settings=settings):
        open_tasks[outcome.task].add(outcome.rows)
        done_s += sum(row.duration_s for _, row, _ in outcome.rows)
        progress("decode", min(1.0, done_s / total_s))


def _work_left(
    settings: EvaluateSettings,
    *,
    test_sets: Mapping[str, TestSet],
    open_tasks: Mapping[Task, PartialResults],
) -> list[Piece]:
    return [
        piece
        for name, test_set in test_sets.items()
        for piece in pieces(
            dict(zip(test_set.rows.tolist(), test_set.durations_s(test_set.rows), strict=True)),
            data=name,
            done={task: part.rows for task, part in open_tasks.items() if task.condition.data == name},
            piece_s=settings.piece_s,
        )
    ]


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _report_data(
    settings: EvaluateSettings,
    evaluation: Evaluation,
    *,
    candidate: str,
    decoded: Mapping[str, Decoded],
    models: Mapping[str, str],
) -> ReportData:
    """Return what a report of the first model and `candidate` shows, or of the first alone."""
    names = list(dict.fromkeys([next(iter(decoded)), candidate]))
    history = list(read(metrics_path(settings.run_dir))) if settings.run_dir else []
    summary = _run_summary(settings.run_dir)
    validations = [row for row in history if row["kind"] == "validation"]
    return ReportData(
        title=" against ".join(reversed(names)),
        created=datetime.now().astimezone(),
        reports={name: evaluation.reports[name] for name in names},
        policy=evaluation.policy,
        paired=[result for result in evaluation.paired if result.candidate == candidate],
        training_loss=[(row["step"], row["loss"]) for row in history if row.get("loss") is not None],
        validation={
            tag: [(row["step"], row["locales"][tag]["rate"]) for row in validations]
            for tag in (validations[0]["locales"] if validations else ())
        },
        planned_s=_by_locale(summary.get("planned_s", {})),
        consumed_s=_by_locale(summary.get("consumed_s", {})),
        examples=choose_examples([(name, decoded[name].rows) for name in names]),
        facts=_facts(settings, evaluation, models={name: models[name] for name in names}, summary=summary),
    )


def _run_summary(run_dir: Path | None) -> dict[str, Any]:
    path = run_dir / "summary.json" if run_dir else None
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path and path.exists() else {}


def _by_locale(seconds_by_key: Mapping[str, float]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for key, seconds in seconds_by_key.items():
        locale = key.partition("/")[0]
        totals[locale] = totals.get(locale, 0.0) + seconds
    return totals


def _facts(
    settings: EvaluateSettings,
    evaluation: Evaluation,
    *,
    models: Mapping[str, str],
    summary: Mapping[str, Any],
) -> dict[str, str]:
    condition, speeds = evaluation.condition, evaluation.document["speed"]
    facts = {f"model {name}": model for name, model in models.items()}
    facts |= {
        "decoding": condition.in_words,
        "prompt": condition.prompt,
        "data": str(settings.data[condition.data]),
        "normaliser": NORMALISER_VERSION,
        "bootstrap seed": str(settings.seed),
        "machine": f"{platform.system()} {platform.machine()}, {'GPU' if settings.use_gpu else 'CPU'}",
        "audio per second of an actor": ", ".join(f"{name} {speeds[name]['rtfx']:g} s" for name in models),
    }
    if summary:
        hours, minutes = sum(summary["consumed_s"].values()) / 3600, summary["elapsed_s"] / 60
        facts["training"] = (
            f"{summary['steps']:,} steps, best at {summary['best_step']:,}, "
            f"{hours:.1f} hours of audio in {minutes:.1f} minutes"
        )
    return facts
