"""Where a model is weak: the same counts, cut by length, noise, source and speaker. Pure.

Slices are cut inside a locale; rates of different languages are not pooled.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asr_ray.evaluate.scoring.counts import Counts, Hypothesis, count_pair, rows_by_locale, total_of
from asr_ray.locales import unit_of

Dimension = Literal["duration", "snr", "source", "speaker"]
"""What a test set is cut by."""

DURATION_EDGES_S = (2.0, 5.0, 10.0, 20.0)
SNR_EDGES_DB = (10.0, 20.0, 30.0)

FEW_TOKENS = 200
"""A rate over fewer reference tokens moves by several points with one utterance."""

_MIN_SPEAKER_TOKENS = 20
_NAMED_SPEAKERS = 3

Slices = Mapping[str, Mapping[Dimension, Mapping[str, Counts]]]
"""Locale -> dimension -> name of the slice -> its counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerSpread:
    """How differently the speakers of one locale fare; only those with enough words are looked at.

    Attributes:
        median: of the speakers' rates.
        worst: (speaker, rate), the highest first; nobody without an error.
    """

    speakers: int
    median: float
    worst: Sequence[tuple[str, float]]


def slices_of(rows: Sequence[Hypothesis]) -> Slices:
    """Cut the hypotheses of one model; bands are in rising order, names in theirs, and empty slices left out.

    Utterances without reference tokens are in no slice, and those of unknown speaker, source or noise in
    none of that dimension.
    """
    cut: dict[str, dict[Dimension, dict[str, Counts]]] = {}
    for locale, spoken in sorted(rows_by_locale(rows).items()):
        found: defaultdict[tuple[Dimension, tuple[int, str]], list[Counts]] = defaultdict(list)
        for row in spoken:
            counts = count_pair(row, unit=unit_of(locale))
            if counts.tokens:
                for dimension, place in _places(row):
                    found[dimension, place].append(counts)
        by_dimension: dict[Dimension, dict[str, Counts]] = defaultdict(dict)
        for (dimension, (_, name)), counts_of_slice in sorted(found.items()):
            by_dimension[dimension][name] = total_of(counts_of_slice)
        cut[locale] = dict(by_dimension)
    return cut


def spread_of_speakers(speakers: Mapping[str, Counts]) -> SpeakerSpread | None:
    """Compare the speakers of one locale; None with fewer than two that said enough."""
    rates = {name: each.rate for name, each in speakers.items() if each.tokens >= _MIN_SPEAKER_TOKENS}
    if len(rates) < 2:
        return None
    ranked = sorted(rates.items(), key=lambda item: (-item[1], item[0]))
    return SpeakerSpread(
        speakers=len(rates),
        median=statistics.median(rates.values()),
        worst=[(name, rate) for name, rate in ranked[:_NAMED_SPEAKERS] if rate],
    )


def slices_to_json(slices: Slices) -> dict[str, Any]:
    """Return plain values for `metrics.json`; speakers, of whom there may be thousands, are left out."""
    return {
        locale: {
            dimension: {
                name: {
                    "utterances": counts.utterances,
                    "errors": counts.errors,
                    "tokens": counts.tokens,
                    "rate": counts.rate,
                }
                for name, counts in by_name.items()
            }
            for dimension, by_name in by_dimension.items()
            if dimension != "speaker"
        }
        for locale, by_dimension in slices.items()
    }


def band_names(dimension: Dimension) -> list[str]:
    """Return the bands of a dimension that has some, rising."""
    edges, unit = _BANDS[dimension]
    return [_band(index, edges, unit) for index in range(len(edges) + 1)]


_BANDS: Mapping[Dimension, tuple[Sequence[float], str]] = {
    "duration": (DURATION_EDGES_S, "s"),
    "snr": (SNR_EDGES_DB, "dB"),
}


def _places(row: Hypothesis) -> Iterator[tuple[Dimension, tuple[int, str]]]:
    """Yield in which slice of each dimension an utterance is, with a number to sort them by."""
    yield "duration", _place(row.duration_s, "duration")
    if row.snr_db is not None:
        yield "snr", _place(row.snr_db, "snr")
    if row.source:
        yield "source", (0, row.source)
    if row.speaker:
        yield "speaker", (0, row.speaker)


def _place(value: float, dimension: Dimension) -> tuple[int, str]:
    edges, unit = _BANDS[dimension]
    index = bisect_right(edges, value)
    return index, _band(index, edges, unit)


def _band(index: int, edges: Sequence[float], unit: str) -> str:
    if index == 0:
        return f"under {edges[0]:g} {unit}"
    if index == len(edges):
        return f"{edges[-1]:g} {unit} and more"
    return f"{edges[index - 1]:g} to {edges[index]:g} {unit}"
