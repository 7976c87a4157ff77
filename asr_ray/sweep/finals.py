"""Finalists on the test set: the same decoding and the same scores as jobs/evaluate.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from asr_ray.errors import DataError
from asr_ray.evaluate.results import read_hypotheses
from asr_ray.evaluate.run import run_evaluation
from asr_ray.evaluate.scoring.score import Hypothesis, count_pair
from asr_ray.locales import unit_of
from asr_ray.model.base import resolve_base
from asr_ray.settings import EvaluateSettings, TrainSettings
from asr_ray.sweep.book import Book
from asr_ray.sweep.deciding.counts import rates_of, read_counts
from asr_ray.train.judging.validate import Row, write_rows

BASE = "base"
_MODELS_AT_ONCE = 4
"""Actors keep what they decode with; starting them takes longer than decoding with a small model."""


def score_finals(book: Book, *, names: Sequence[str], settings: TrainSettings) -> Path:
    """Score the best weights of some trials, and the untuned model, on the test set of a sweep.

    Writes rates and the place of the counts into the records; what was scored before is not scored again.

    Args:
        names: trials that were trained to the end.
        settings: of a run of the sweep, for what is judged and how.

    Returns:
        Where the counts of the untuned model are.
    """
    folder = book.out / "test"
    base = folder / f"{BASE}.jsonl"
    open_models = [] if base.exists() else [(BASE, resolve_base(settings.model.base))]
    open_models += [
        (name, Path(book.records[name].run_dir) / "best.nemo")
        for name in names
        if not book.records[name].test_rates
    ]
    for first in range(0, len(open_models), _MODELS_AT_ONCE):
        models = dict(open_models[first : first + _MODELS_AT_ONCE])
        # A folder for each few of them: what was scored together is kept together.
        evaluated = folder / "-".join(list(models)[:1])
        run_evaluation(
            EvaluateSettings.model_validate(
                {
                    "models": {name: str(path) for name, path in models.items()},
                    "data": {"test": str(book.sweep.settings.test)},
                    "out": str(evaluated),
                    "locales": [*settings.validation.targets, *settings.validation.guards],
                    "att_context_size": list(settings.validation.att_context_size),
                    "use_gpu": settings.resources.use_gpu,
                }
            )
        )
        for name in models:
            rows = read_hypotheses(evaluated / name)
            if rows is None:
                raise DataError(f"{evaluated / name}: no hypotheses were left", fix="remove it and try again")
            file = folder / f"{name}.jsonl"
            write_rows(file, _counted(rows))
            if name != BASE:
                book.update(name, test_counts=str(file), test_rates=rates_of(read_counts(file)))
    return base


def _counted(rows: Iterable[Hypothesis]) -> Iterable[Row]:
    for row in rows:
        own = count_pair(row, unit=unit_of(row.locale))
        named = {"id": row.id, "locale": row.locale, "speaker": row.speaker}
        yield {**named, "errors": own.errors, "tokens": own.tokens}
