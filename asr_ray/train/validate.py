"""Error rates per locale during training, shared out over the ranks."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from asr_ray.evaluate.hypotheses import transcribe
from asr_ray.evaluate.scoring.score import Counts, count_pair
from asr_ray.locales import unit_of
from asr_ray.records import Utterance
from asr_ray.settings import TrainSettings
from asr_ray.train.group import Worker

LocaleRates = dict[str, dict[str, float]]
"""Locale -> rate, empty_rate, length_ratio, utterances."""


def validate(
    model: Any,
    *,
    utterances: Mapping[str, Sequence[Utterance]],
    worker: Worker,
    settings: TrainSettings,
) -> LocaleRates:
    """Decode each rank's share of the validation utterances and return the rates of all of them.

    Args:
        utterances: locale -> utterances, the same on every rank.
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
    for hypothesis in hypotheses:
        counts[hypothesis.locale] += count_pair(hypothesis, unit=unit_of(hypothesis.locale))
    parts = worker.gather(counts)
    return {tag: _rates(functools.reduce(operator.add, (part[tag] for part in parts))) for tag in utterances}


def _rates(counts: Counts) -> dict[str, float]:
    utterances, tokens = max(1, counts.utterances), max(1, counts.tokens)
    return {
        "rate": counts.errors / tokens,
        "empty_rate": counts.empty_hypotheses / utterances,
        "length_ratio": counts.hypothesis_tokens / tokens,
        "utterances": counts.utterances,
    }
