"""Error rates per locale during training, shared out over the ranks."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from asr_ray.evaluate.hypotheses import transcribe
from asr_ray.evaluate.scoring.score import Counts, count_pair
from asr_ray.files import write_whole
from asr_ray.locales import unit_of
from asr_ray.records import Utterance
from asr_ray.settings import TrainSettings
from asr_ray.train.group import Worker

LocaleRates = dict[str, dict[str, float]]
"""Locale -> rate, empty_rate, length_ratio, utterances."""

Row = Mapping[str, str | int]
"""Counts of one utterance: id, locale, speaker, errors, tokens; no text."""


def counts_path(run_dir: Path, *, step: int) -> Path:
    """Where the counts of each utterance of a validation are, one JSON object a line."""
    return run_dir / "validation" / f"step-{step:08d}.jsonl"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Leave the counts of each utterance, from which two runs can be compared utterance by utterance."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def validate(
    model: Any,
    *,
    utterances: Mapping[str, Sequence[Utterance]],
    worker: Worker,
    settings: TrainSettings,
    counts_file: Path | None = None,
) -> LocaleRates:
    """Decode each rank's share of the validation utterances and return the rates of all of them.

    Args:
        utterances: locale -> utterances, the same on every rank.
        counts_file: where rank 0 leaves the counts of each utterance.
    """
    mine = [utterance for rows in utterances.values() for utterance in rows[worker.rank :: worker.world_size]]
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        hypotheses = transcribe(
            model,
            utterances=mine,
            att_context_size=settings.validation.att_context_size,
            batch_s=settings.data.max_padded_s,
            before_batch=lambda: worker.mark("validating"),
        )
    model.train(was_training)
    counts = {tag: Counts() for tag in utterances}
    rows: list[Row] = []
    for hypothesis in hypotheses:
        own = count_pair(hypothesis, unit=unit_of(hypothesis.locale))
        counts[hypothesis.locale] += own
        named = {"id": hypothesis.id, "locale": hypothesis.locale, "speaker": hypothesis.speaker}
        rows.append({**named, "errors": own.errors, "tokens": own.tokens})
    parts = worker.gather(counts)
    if counts_file is not None:
        gathered = worker.gather(rows)
        if worker.rank == 0:
            write_rows(counts_file, (row for part in gathered for row in part))
    return {tag: _rates(functools.reduce(operator.add, (part[tag] for part in parts))) for tag in utterances}


def _rates(counts: Counts) -> dict[str, float]:
    utterances, tokens = max(1, counts.utterances), max(1, counts.tokens)
    return {
        "rate": counts.errors / tokens,
        "empty_rate": counts.empty_hypotheses / utterances,
        "length_ratio": counts.hypothesis_tokens / tokens,
        "utterances": counts.utterances,
    }
