"""The earlier evaluation that a model is judged by, read and checked before anything is decoded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_ray.errors import ConfigError, DataError
from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.gate import Gate, findings_of_intervals, findings_of_means, findings_of_pairs
from asr_ray.evaluate.results import read_hypotheses
from asr_ray.evaluate.scoring.counts import Hypothesis, check_ids
from asr_ray.evaluate.scoring.normalise import NORMALISER_VERSION
from asr_ray.evaluate.scoring.paired import compare
from asr_ray.evaluate.scoring.score import EvalReport
from asr_ray.evaluate.testsets import TestSet
from asr_ray.settings import EvaluateSettings
from asr_ray.settings.evaluate import CompareSettings

EVALUATIONS = "evaluations"
"""Key of a `metrics.json` that holds several conditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One model of an earlier evaluation under one condition.

    Attributes:
        locales: what its `metrics.json` says of each.
        rows: its hypotheses; None where they are not kept beside it.
    """

    path: Path
    model: str
    locales: Mapping[str, Mapping[str, Any]]
    rows: Sequence[Hypothesis] | None


def open_baselines(
    settings: EvaluateSettings, *, conditions: Mapping[Condition, Path], test_sets: Mapping[str, TestSet]
) -> dict[Condition, Baseline]:
    """Return the baseline of each condition; none where nothing is compared.

    Args:
        conditions: with the folders that will be written.

    Raises:
        ConfigError: no such file, no metrics in it, or none of this condition, of this model, or of this
            normaliser; or it is the file that this evaluation will write.
        DataError: it was scored on other utterances.
    """
    if settings.compare is None:
        return {}
    written = {settings.out, *conditions.values()}
    if settings.compare.baseline.parent.resolve() in {folder.resolve() for folder in written}:
        raise ConfigError(
            f"compare.baseline {settings.compare.baseline} would be written over by this evaluation",
            fix="give it another `out`",
        )
    documents = read_documents(settings.compare.baseline, key="compare.baseline")
    found = {
        condition: _baseline(documents, condition=condition, compared=settings.compare, settings=settings)
        for condition in conditions
    }
    for condition, baseline in found.items():
        _check_utterances(baseline, test_set=test_sets[condition.data])
    return found


def gate_of(
    baseline: Baseline,
    rows: Sequence[Hypothesis],
    *,
    report: EvalReport,
    candidate: str,
    compared: CompareSettings,
    seed: int,
) -> Gate:
    """Judge a model by its baseline.

    Args:
        rows, report: hypotheses and scores of the model that is judged.

    Raises:
        DataError: the references are not those of the baseline.
    """
    if baseline.rows is None:
        _check_tokens(baseline, report)
        before = {
            locale: (float(score["rate"]), (float(score["ci95"][0]), float(score["ci95"][1])))
            for locale, score in baseline.locales.items()
        }
        findings = findings_of_intervals(before, report=report, compare=compared)
    else:
        shared = [row for row in rows if row.locale in baseline.locales]
        pairs = compare(baseline.rows, shared, baseline=baseline.model, candidate=candidate, seed=seed)
        findings = findings_of_pairs(pairs, report=report, compare=compared)
    return Gate(
        baseline=baseline.model,
        candidate=candidate,
        findings=[*findings, *findings_of_means(findings, compare=compared)],
        new=[locale for locale in report.locales if locale not in baseline.locales],
    )


def read_documents(path: Path, *, key: str) -> list[tuple[Path, Mapping[str, Any]]]:
    """Return each condition of a `metrics.json` with the folder of its hypotheses.

    Args:
        key: of the configuration that names the file, for messages.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    fix = "give the metrics.json of an earlier run of jobs/evaluate.py"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        together = document.get(EVALUATIONS)
        found = [(path.parent / name, each) for name, each in (together or {}).items()]
        found = found or [(path.parent, document)]
        # What is asked for below is there, or it is another program's file.
        for _, each in found:
            _ = [each[key] for key in ("models", "normaliser", "context", "mode", "prompt")]
    except OSError as error:
        raise ConfigError(f"{key} {path} cannot be read: {error.strerror}", fix=fix) from None
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ConfigError(f"{key} {path} holds no metrics of an evaluation", fix=fix) from None
    return found


def _baseline(
    documents: Sequence[tuple[Path, Mapping[str, Any]]],
    *,
    condition: Condition,
    compared: CompareSettings,
    settings: EvaluateSettings,
) -> Baseline:
    alike = [(folder, each) for folder, each in documents if _decoding(each) == _decoding_of(condition)]
    # Names of test sets are the user's; utterances are compared in any case.
    named = [(folder, each) for folder, each in alike if each.get("data") == condition.data]
    chosen = named or (alike if len(settings.data) == 1 else [])
    if len(chosen) != 1:
        known = "; ".join(f"{each.get('data', '?')}: {_decoding(each)}" for _, each in documents)
        raise ConfigError(
            f"{compared.baseline} has {len(chosen) or 'no'} scores of {condition.data}, "
            f"{condition.in_words}, prompt {condition.prompt}",
            fix=f"evaluate under the condition of the baseline, which has: {known}",
        )
    [(folder, document)] = chosen
    model = _model_name(document["models"], compared=compared, settings=settings)
    results = folder / model
    rows = read_hypotheses(results)
    if rows is None and document["normaliser"] != NORMALISER_VERSION:
        raise ConfigError(
            f"{compared.baseline} was scored by normaliser {document['normaliser']}, and its hypotheses are "
            f"not in {results} to be scored again by {NORMALISER_VERSION}",
            fix="keep results.jsonl beside metrics.json, or evaluate the baseline again",
        )
    return Baseline(
        path=compared.baseline, model=model, locales=document["models"][model]["locales"], rows=rows
    )


def _decoding(document: Mapping[str, Any]) -> tuple[object, ...]:
    precision = document.get("precision", "fp32")
    return tuple(document["context"]), document["mode"], document["prompt"], precision


def _decoding_of(condition: Condition) -> tuple[object, ...]:
    return tuple(condition.att_context_size), condition.mode, condition.prompt, condition.precision


def _model_name(models: Mapping[str, Any], *, compared: CompareSettings, settings: EvaluateSettings) -> str:
    wanted = compared.baseline_model or judged_model(settings)
    if wanted in models:
        return wanted
    if len(models) == 1 and compared.baseline_model is None:
        return next(iter(models))
    raise ConfigError(
        f"{compared.baseline} has no model {wanted!r}",
        fix=f"set compare.baseline_model to one of {', '.join(models)}",
    )


def judged_model(settings: EvaluateSettings) -> str:
    """Return the name of the model that the gate is about."""
    chosen = settings.compare.model if settings.compare else None
    return chosen or list(settings.models)[-1]


def _check_utterances(baseline: Baseline, *, test_set: TestSet) -> None:
    gone = sorted(set(baseline.locales) - set(test_set.locales))
    if gone:
        raise DataError(
            f"{baseline.path} has {', '.join(gone)}, which this evaluation leaves out",
            fix="a gate that skips a locale passes it; evaluate all, or score the baseline on fewer",
        )
    if baseline.rows is not None:
        check_ids(
            {row.id for row in baseline.rows},
            expected=test_set.ids_of(baseline.locales),
        )


def _check_tokens(baseline: Baseline, report: EvalReport) -> None:
    for locale, before in baseline.locales.items():
        score = report.locales[locale]
        if (before["utterances"], before["tokens"]) != (score.utterances, score.tokens):
            raise DataError(
                f"{baseline.path}: {locale} was scored on {before['utterances']} utterances of "
                f"{before['tokens']} tokens, here on {score.utterances} of {score.tokens}",
                fix="score both models on the same version of the test set",
            )
