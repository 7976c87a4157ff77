"""Error rates per locale during training, shared out over the ranks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asr_ray.evaluate.hypotheses import transcribe
from asr_ray.evaluate.scoring.counts import total_of
from asr_ray.evaluate.scoring.normalise import language_tags
from asr_ray.evaluate.scoring.score import Counts, Hypothesis, count_pair, is_in_another_script
from asr_ray.files import write_whole
from asr_ray.locales import unit_of
from asr_ray.records import Utterance
from asr_ray.settings import TrainSettings
from asr_ray.train.group import Worker

LocaleRates = dict[str, dict[str, Any]]
"""Locale -> `rate` (WER or CER), `empty_rate`, `length_ratio` (written tokens of those said),
`script_mismatch_rate`, `tag_accuracy` (None where the model wrote no tag), `utterances`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of one rank over its utterances of one locale.

    Attributes:
        hypotheses: all of them, of silent utterances too.
        script_mismatches: hypotheses that are mostly in another script than the locale's.
        tagged: hypotheses that name a language.
        rightly_tagged: of these, the ones that name this locale last.
    """

    counts: Counts
    hypotheses: int
    script_mismatches: int
    tagged: int
    rightly_tagged: int


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
            prompt=settings.validation.prompt,
            # Scoring takes them out again: no word, but a sign of which language the model is in.
            keep_tags=True,
            batch_s=settings.data.max_padded_s,
            before_batch=lambda: worker.mark("validating"),
        )
    model.train(was_training)
    parts = worker.gather(
        {tag: tally_of([row for row in hypotheses if row.locale == tag], locale=tag) for tag in utterances}
    )
    if counts_file is not None:
        rows = worker.gather([row_of(hypothesis) for hypothesis in hypotheses])
        if worker.rank == 0:
            write_rows(counts_file, (row for part in rows for row in part))
    return {tag: rates_of([part[tag] for part in parts]) for tag in utterances}


def row_of(hypothesis: Hypothesis) -> Row:
    """Count one utterance."""
    own = count_pair(hypothesis, unit=unit_of(hypothesis.locale))
    named = {"id": hypothesis.id, "locale": hypothesis.locale, "speaker": hypothesis.speaker}
    return {**named, "errors": own.errors, "tokens": own.tokens}


def tally_of(rows: Sequence[Hypothesis], *, locale: str) -> Tally:
    """Count what one rank decoded of one locale; rows of no other."""
    last_tags = [tags[-1] for row in rows if (tags := language_tags(row.hyp))]
    return Tally(
        counts=total_of([count_pair(row, unit=unit_of(locale)) for row in rows]),
        hypotheses=len(rows),
        script_mismatches=sum(is_in_another_script(row) for row in rows),
        tagged=len(last_tags),
        rightly_tagged=last_tags.count(locale),
    )


def rates_of(parts: Sequence[Tally]) -> dict[str, Any]:
    """Return the rates over what all ranks counted of one locale; see `LocaleRates`."""
    counts = total_of([part.counts for part in parts])
    utterances, tokens = max(1, counts.utterances), max(1, counts.tokens)
    hypotheses = max(1, sum(part.hypotheses for part in parts))
    tagged = sum(part.tagged for part in parts)
    return {
        "rate": counts.errors / tokens,
        "empty_rate": counts.empty_hypotheses / utterances,
        "length_ratio": counts.hypothesis_tokens / tokens,
        "script_mismatch_rate": sum(part.script_mismatches for part in parts) / hypotheses,
        "tag_accuracy": sum(part.rightly_tagged for part in parts) / hypotheses if tagged else None,
        "utterances": counts.utterances,
    }
