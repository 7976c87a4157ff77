"""Decode models on prepared speech with a pool of Ray actors, score them, leave results and a report."""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from asr_ray.data.catalog import Catalog
from asr_ray.data.read import RowAddress, read_utterances
from asr_ray.errors import DataError
from asr_ray.evaluate.examples import choose_examples
from asr_ray.evaluate.hypotheses import transcribe
from asr_ray.evaluate.normalise import NORMALISER_VERSION
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.paired import PairedResult, compare, metrics_document
from asr_ray.evaluate.report import ReportData, write_report
from asr_ray.evaluate.results import decoding, find_results, write_results
from asr_ray.evaluate.score import EvalReport, Hypothesis, score_pairs
from asr_ray.metrics import metrics_path, read
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import load_model, quiet_nemo, sha256_of
from asr_ray.settings import EvaluateSettings

_CHUNK_S = 120.0
"""Seconds of audio that an actor decodes between two results."""

_RESTARTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Outcome of an evaluation, by model in the order of the settings."""

    out: Path
    reports: Mapping[str, EvalReport]
    paired: Sequence[PairedResult]
    policy: GuardPolicy


def run_evaluation(settings: EvaluateSettings) -> Evaluation:
    """Decode and score every model on the connected Ray cluster; see `results` for what is reused.

    Leaves `OUT/<model>/results.jsonl` (raw hypotheses), `OUT/metrics.json` and `OUT/report.html`.

    Raises:
        ConfigError: a model file does not exist.
        DataError: the data has no utterance of a wanted locale.
    """
    paths = {name: resolve_base(model).resolve() for name, model in settings.models.items()}
    digests = {name: sha256_of(path) for name, path in paths.items()}
    hypotheses = _hypotheses(settings, paths=paths, digests=digests)
    reports = {name: score_pairs(rows, seed=settings.seed) for name, rows in hypotheses.items()}
    base, *others = hypotheses
    paired = [
        result
        for name in others
        for result in compare(
            hypotheses[base], hypotheses[name], baseline=base, candidate=name, seed=settings.seed
        )
    ]
    document = metrics_document(
        reports, paired=paired, context=settings.att_context_size, mode=settings.mode, prompt=settings.prompt
    )
    (settings.out / "metrics.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    locales = list(reports[base].locales)
    policy = GuardPolicy(
        targets=tuple(tag for tag in locales if tag not in settings.guards),
        guards=tuple(settings.guards),
        max_guard_loss=settings.max_guard_loss,
    )
    data = _report_data(
        settings,
        reports=reports,
        paired=paired,
        policy=policy,
        hypotheses=hypotheses,
        models={name: f"{path.name}, sha256 {digests[name]}" for name, path in paths.items()},
    )
    write_report(settings.out / "report.html", data=data)
    return Evaluation(out=settings.out, reports=reports, paired=paired, policy=policy)


class Decoder:
    """Ray actor that holds the models and decodes chunks of utterances with each."""

    def __init__(self, *, paths: Mapping[str, Path], root: Path, settings: EvaluateSettings) -> None:
        import torch

        self.root, self.settings = root, settings
        device = torch.device("cuda" if settings.use_gpu else "cpu")
        with quiet_nemo():
            self.models = {name: load_model(path, device=device).eval() for name, path in paths.items()}

    def __call__(self, chunk: pa.Table) -> Iterator[pa.Table]:
        """Yield one row per model and utterance of the chunk."""
        import torch

        places = [RowAddress(*place) for place in json.loads(chunk["places"][0].as_py())]
        utterances = read_utterances(self.root, places)
        for name, model in self.models.items():
            with torch.inference_mode():
                rows = transcribe(
                    model,
                    utterances=utterances,
                    att_context_size=self.settings.att_context_size,
                    mode=self.settings.mode,
                    prompt=self.settings.prompt,
                    batch_s=self.settings.batch_s,
                )
            yield pa.Table.from_pylist([{"model": name} | asdict(row) for row in rows])


def _hypotheses(
    settings: EvaluateSettings, *, paths: Mapping[str, Path], digests: Mapping[str, str]
) -> dict[str, list[Hypothesis]]:
    """Return the hypotheses of every model, decoding those that are not there yet."""
    catalog_digest = Catalog.read(settings.data / "catalog.parquet").digest
    seals = {
        name: decoding(settings, model_sha256=digest, catalog_digest=catalog_digest)
        for name, digest in digests.items()
    }
    found = {name: find_results(settings.out / name, decoded=seal) for name, seal in seals.items()}
    missing = {name: paths[name] for name, rows in found.items() if rows is None}
    decoded = _decode_all(settings, paths=missing) if missing else {}
    for name, rows in decoded.items():
        write_results(settings.out / name, rows, decoded=seals[name])
    return {name: decoded[name] if rows is None else rows for name, rows in found.items()}


def _decode_all(settings: EvaluateSettings, *, paths: Mapping[str, Path]) -> dict[str, list[Hypothesis]]:
    chunks = [{"places": json.dumps(chunk)} for chunk in _chunks(settings)]
    with warnings.catch_warnings():
        # 2.60 takes `max_restarts` only in this way, and announces its end.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = ray.data.from_items(chunks, override_num_blocks=len(chunks)).map_batches(
            Decoder,
            fn_constructor_kwargs={"paths": paths, "root": settings.data.resolve(), "settings": settings},
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(settings.num_actors, len(chunks))),
            num_cpus=None if settings.use_gpu else 1,
            num_gpus=1 if settings.use_gpu else None,
            max_restarts=_max_restarts(num_nodes=len(ray.nodes())),
        )
    found: dict[str, list[Hypothesis]] = {name: [] for name in paths}
    for row in dataset.take_all():
        found[row.pop("model")].append(Hypothesis(**row))
    for rows in found.values():
        rows.sort(key=lambda row: (row.locale, row.id))
    return found


def _max_restarts(*, num_nodes: int) -> int:
    """How often a dead actor comes back; Ray Data's own answer is without end.

    A node can be lost. On one machine, what killed an actor (memory, a driver) would kill it again.
    """
    return _RESTARTS if num_nodes > 1 else 0


def _chunks(settings: EvaluateSettings) -> Iterator[list[RowAddress]]:
    """Yield the utterances to decode, of similar length together and the longest first."""
    catalog = Catalog.read(settings.data / "catalog.parquet")
    rows = _chosen_rows(catalog, settings=settings)
    rows = rows[np.argsort(-catalog.durations_s[rows], kind="stable")]
    ends = np.cumsum(catalog.durations_s[rows]) // _CHUNK_S
    for number in np.unique(ends):
        table = catalog.table.take(rows[ends == number]).select(list(RowAddress._fields))
        yield [RowAddress(*values) for values in zip(*(column.to_pylist() for column in table), strict=True)]


def _chosen_rows(catalog: Catalog, *, settings: EvaluateSettings) -> np.ndarray[Any, np.dtype[np.int64]]:
    locale_of_row = np.array([locale for locale, _ in catalog.keys])[catalog.key_of_row]
    wanted = settings.locales or sorted(set(locale_of_row))
    chosen = [np.flatnonzero(locale_of_row == tag)[: settings.utterances_per_locale] for tag in wanted]
    missing = [tag for tag, rows in zip(wanted, chosen, strict=True) if not len(rows)]
    if missing:
        raise DataError(
            f"{settings.data}: no utterance of {', '.join(missing)}", fix="prepare some, or leave it out"
        )
    return np.concatenate(chosen)


def _report_data(
    settings: EvaluateSettings,
    *,
    reports: Mapping[str, EvalReport],
    paired: Sequence[PairedResult],
    policy: GuardPolicy,
    hypotheses: Mapping[str, Sequence[Hypothesis]],
    models: Mapping[str, str],
) -> ReportData:
    history = list(read(metrics_path(settings.run_dir))) if settings.run_dir else []
    summary = _run_summary(settings.run_dir)
    validations = [row for row in history if row["kind"] == "validation"]
    return ReportData(
        title=" against ".join(reversed(settings.models)),
        created=datetime.now().astimezone(),
        reports=dict(list(reports.items())[:2]),
        policy=policy,
        paired=[result for result in paired if result.candidate == list(reports)[1]],
        training_loss=[(row["step"], row["loss"]) for row in history if row.get("loss") is not None],
        validation={
            tag: [(row["step"], row["locales"][tag]["rate"]) for row in validations]
            for tag in (validations[0]["locales"] if validations else ())
        },
        planned_s=_by_locale(summary.get("planned_s", {})),
        consumed_s=_by_locale(summary.get("consumed_s", {})),
        examples=choose_examples(list(hypotheses.items())[:2]),
        facts=_facts(settings, models=models, summary=summary),
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
    settings: EvaluateSettings, *, models: Mapping[str, str], summary: Mapping[str, Any]
) -> dict[str, str]:
    left, right = settings.att_context_size
    facts = {f"model {name}": model for name, model in models.items()}
    facts |= {
        "decoding": f"{settings.mode}, context [{left}, {right}]: chunks of {80 * (right + 1)} ms",
        "prompt": settings.prompt,
        "data": str(settings.data),
        "normaliser": NORMALISER_VERSION,
        "bootstrap seed": str(settings.seed),
        "machine": f"{platform.system()} {platform.machine()}, {'GPU' if settings.use_gpu else 'CPU'}",
    }
    if summary:
        hours, minutes = sum(summary["consumed_s"].values()) / 3600, summary["elapsed_s"] / 60
        facts["training"] = (
            f"{summary['steps']:,} steps, best at {summary['best_step']:,}, "
            f"{hours:.1f} hours of audio in {minutes:.1f} minutes"
        )
    return facts
