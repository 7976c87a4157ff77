"""Decode models on test speech, score them, leave results and a report for each condition."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_ray.errors import AsrRayError, RegressionError
from asr_ray.evaluate.baseline import EVALUATIONS, Baseline, gate_of, judged_model, open_baselines
from asr_ray.evaluate.conditions import Condition, conditions_of
from asr_ray.evaluate.gate import Gate, regression_error
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages.reporting import Scored, write_reports
from asr_ray.evaluate.pool import decode_pieces
from asr_ray.evaluate.results import Decoded, PartialResults, decoding, find_results
from asr_ray.evaluate.scoring.confusions import confusions_of
from asr_ray.evaluate.scoring.paired import (
    PairedResult,
    PromptComparison,
    compare,
    compare_prompts,
    metrics_document,
)
from asr_ray.evaluate.scoring.score import EvalReport, score_pairs
from asr_ray.evaluate.scoring.slices import slices_of, slices_to_json
from asr_ray.evaluate.testsets import TestSet, open_test_sets
from asr_ray.evaluate.work import Piece, Task, pieces
from asr_ray.files import write_whole
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import sha256_of
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings, HubModel

METRICS = "metrics.json"
SUMMARY = "summary.json"

Progress = Callable[[str, float], None]
"""Told what is being done and which share of it is finished."""


def _no_progress(stage: str, share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Outcome under one condition, by model in the order of the settings.

    Attributes:
        out: folder of the condition.
        gate: the model judged by an earlier evaluation; None where nothing is compared.
        document: content of its `metrics.json`.
    """

    condition: Condition
    out: Path
    reports: Mapping[str, EvalReport]
    paired: Sequence[PairedResult]
    policy: GuardPolicy
    gate: Gate | None
    document: Mapping[str, Any]


def run_evaluation(settings: EvaluateSettings, *, progress: Progress = _no_progress) -> list[Evaluation]:
    """Decode and score every model under every condition on the connected Ray cluster.

    Leaves `<model>/results.jsonl` (raw hypotheses), `metrics.json`, `report.html` and `report.md` for each
    condition, see `conditions` for the folders; beside them `MODEL_CARD.md` and `summary.json`, which holds
    the exit code. What was decoded before is reused, and what a stopped run has decoded too, see `results`.

    Args:
        progress: called after each piece.

    Raises:
        ConfigError: a model or test set does not exist, or the baseline is not one.
        DataError: the data has no utterance of a wanted locale, a row that cannot be decoded, or other
            utterances than the baseline.
    """
    try:
        evaluations = _run(settings, progress=progress)
    except AsrRayError as error:
        # `ray job submit` flattens exit codes; whoever submitted reads this one.
        # Of an error in an actor, Ray raises a copy that prints a traceback and keeps the original.
        cause = getattr(error, "cause", error)
        _write_json(settings.out / SUMMARY, {"exit_code": error.exit_code, "error": str(cause)})
        raise
    regression = regression_of(evaluations)
    summary: dict[str, Any] = {"exit_code": regression.exit_code if regression else 0}
    if regression:
        summary["error"] = str(regression)
    summary["evaluations"] = {
        each.condition.name: {
            "folder": str(each.out),
            "macro": {name: report.macro for name, report in each.reports.items()},
            "failed": [finding.what for finding in each.gate.failed] if each.gate else [],
        }
        for each in evaluations
    }
    _write_json(settings.out / SUMMARY, summary)
    return evaluations


def regression_of(evaluations: Sequence[Evaluation]) -> RegressionError | None:
    """Return the error that names what a gate did not let pass; None where all did."""
    return regression_error(
        {
            f"{each.condition.data}, {each.condition.in_words}, prompt {each.condition.prompt}": each.gate
            for each in evaluations
        }
    )


def _run(settings: EvaluateSettings, *, progress: Progress) -> list[Evaluation]:
    paths = {name: resolve_base(model).resolve() for name, model in settings.models.items()}
    conditions = conditions_of(settings)
    test_sets = open_test_sets(
        settings,
        tokenizer=lambda: NemoTokenizer.from_nemo(next(iter(paths.values()))),
        progress=progress,
    )
    baselines = open_baselines(settings, conditions=conditions, test_sets=test_sets)
    digests = {name: sha256_of(path) for name, path in paths.items()}
    # A file of the Hub stays one: each node keeps it in a cache of its own.
    bases = {name: m if isinstance(m, HubModel) else str(paths[name]) for name, m in settings.models.items()}
    decoded = _decoded(settings, bases=bases, digests=digests, test_sets=test_sets, progress=progress)
    scored = [
        _score(
            settings,
            condition=condition,
            out=out,
            decoded={name: decoded[Task(name, condition)] for name in settings.models},
            baseline=baselines.get(condition),
            expected_ids=test_sets[condition.data].ids,
        )
        for condition, out in conditions.items()
    ]
    evaluations = [_with_metrics(each) for each in scored]
    prompts = _prompt_comparisons(settings, decoded)
    if len(evaluations) > 1:
        together: dict[str, Any] = {EVALUATIONS: {each.condition.name: each.document for each in evaluations}}
        if prompts:
            together["prompts"] = [
                {"condition": condition.name, "model": model} | comparison.to_json()
                for (condition, model), comparison in prompts.items()
            ]
        _write_json(settings.out / METRICS, together)
    write_reports(
        settings,
        scored,
        models={name: f"{path.name}, sha256 {digests[name]}" for name, path in paths.items()},
        test_sets=test_sets,
        prompts=prompts,
    )
    return evaluations


def _score(
    settings: EvaluateSettings,
    *,
    condition: Condition,
    out: Path,
    decoded: Mapping[str, Decoded],
    baseline: Baseline | None,
    expected_ids: Sequence[str],
) -> Scored:
    """Score what was decoded under one condition, and judge it."""
    reports = {
        name: score_pairs(result.rows, seed=settings.seed, expected_ids=expected_ids)
        for name, result in decoded.items()
    }
    base, *others = decoded
    paired = [
        result
        for name in others
        for result in compare(
            decoded[base].rows, decoded[name].rows, baseline=base, candidate=name, seed=settings.seed
        )
    ]
    policy = GuardPolicy(
        targets=tuple(tag for tag in reports[base].locales if tag not in settings.guards),
        guards=tuple(settings.guards),
        max_guard_loss=settings.max_guard_loss,
    )
    gate = None
    if baseline and settings.compare:
        judged = judged_model(settings)
        gate = gate_of(
            baseline,
            decoded[judged].rows,
            report=reports[judged],
            candidate=judged,
            compared=settings.compare,
            seed=settings.seed,
        )
    return Scored(
        condition=condition,
        out=out,
        decoded=decoded,
        reports=reports,
        paired=paired,
        policy=policy,
        baseline=baseline,
        gate=gate,
    )


def _with_metrics(scored: Scored) -> Evaluation:
    """Write the `metrics.json` of one condition and return its outcome."""
    condition = scored.condition
    document = metrics_document(
        scored.reports,
        paired=scored.paired,
        context=condition.att_context_size,
        mode=condition.mode,
        prompt=condition.prompt,
    )
    document |= {
        "data": condition.data,
        "precision": condition.precision,
        "speed": _speeds(scored.decoded),
        "gate": scored.gate and scored.gate.to_json(),
        "slices": {name: slices_to_json(slices_of(each.rows)) for name, each in scored.decoded.items()},
        "confusions": {
            name: {locale: found.to_json() for locale, found in confusions_of(each.rows).items()}
            for name, each in scored.decoded.items()
        },
    }
    _write_json(scored.out / METRICS, document)
    return Evaluation(
        condition=condition,
        out=scored.out,
        reports=scored.reports,
        paired=scored.paired,
        policy=scored.policy,
        gate=scored.gate,
        document=document,
    )


def _prompt_comparisons(
    settings: EvaluateSettings, decoded: Mapping[Task, Decoded]
) -> dict[tuple[Condition, str], PromptComparison]:
    """Return what `auto` costs each model, where both prompts were decoded."""
    return {
        (forced, model): compare_prompts(
            decoded[Task(model, forced)].rows, decoded[Task(model, auto)].rows, seed=settings.seed
        )
        for forced in conditions_of(settings)
        if forced.prompt == "locale" and "auto" in settings.prompt
        for auto in [dataclasses.replace(forced, prompt="auto")]
        for model in settings.models
    }


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
    bases: Mapping[str, str | HubModel],
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
        _decode(settings, bases=bases, test_sets=test_sets, open_tasks=open_tasks, progress=progress)
    return found | {task: partial.finish() for task, partial in open_tasks.items()}


def _decode(
    settings: EvaluateSettings,
    *,
    bases: Mapping[str, str | HubModel],
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
    for outcome in decode_pieces(work, test_sets=test_sets, bases=bases, settings=settings):
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
    write_whole(path, json.dumps(document, indent=1))
