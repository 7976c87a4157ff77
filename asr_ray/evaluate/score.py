"""Hypotheses -> error counts -> rates that can be trusted.

    rate = (substitutions + deletions + insertions) / reference tokens

over a whole test set: counts are summed and divided once, never averaged over utterances. Tokens are
words (WER) or characters without blanks (CER), as `asr_ray.locales` says for each locale. The split into
substitutions, deletions and insertions depends on how ties are broken and is indicative; totals are not.

Utterances whose reference has no tokens say nothing about the rate and are kept out of it; the tokens
a model writes there are counted apart (`hallucinated_tokens`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kaldialign

from asr_ray.errors import DataError
from asr_ray.evaluate.bootstrap import REPLICATIONS, Interval, interval95, resampled_rates
from asr_ray.evaluate.normalise import View, tokens, view_text
from asr_ray.locales import Unit, unit_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What a model wrote for one utterance, next to what was said; both raw."""

    id: str
    locale: str
    ref: str
    hyp: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Integer counts; add them up, divide at the end.

    Attributes:
        tokens: reference tokens.
        hypothesis_tokens: tokens written for the same utterances.
        utterances: those with reference tokens; only they make the rate.
        empty_hypotheses: of these, the ones for which nothing was written.
        silent_utterances: those without reference tokens.
        hallucinated_tokens: tokens written for silent utterances.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    tokens: int = 0
    hypothesis_tokens: int = 0
    utterances: int = 0
    empty_hypotheses: int = 0
    silent_utterances: int = 0
    hallucinated_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(Counts)
            }
        )

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference token; NaN when there was no reference token."""
        return self.errors / self.tokens if self.tokens else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewScore:
    """One locale seen through one view; `unit` says what its tokens are."""

    unit: Unit
    errors: int
    tokens: int
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleScore:
    """How one model does in one locale; counts and rate are those of the normalised view.

    Attributes:
        ci95: bootstrap interval of the rate.
        utterances: all of them, silent ones included.
        views: "raw", "normalised" and, for locales scored in words, "characters" (normalised, CER).
    """

    unit: Unit
    counts: Counts
    ci95: Interval
    utterances: int
    views: Mapping[str, ViewScore]

    @property
    def errors(self) -> int:
        """Errors of the normalised view."""
        return self.counts.errors

    @property
    def tokens(self) -> int:
        """Reference tokens of the normalised view."""
        return self.counts.tokens

    @property
    def rate(self) -> float:
        """Errors per reference token."""
        return self.counts.rate

    @property
    def empty_rate(self) -> float:
        """Empty hypotheses per spoken utterance."""
        return self.counts.empty_hypotheses / self.counts.utterances

    @property
    def length_ratio(self) -> float:
        """Tokens written per reference token; far from 1 means collapse or rambling."""
        return self.counts.hypothesis_tokens / self.counts.tokens

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return {
            "unit": self.unit,
            "errors": self.errors,
            "tokens": self.tokens,
            "rate": self.rate,
            "ci95": list(self.ci95),
            "utterances": self.utterances,
            "views": {name: dataclasses.asdict(view) for name, view in self.views.items()},
            "empty_rate": self.empty_rate,
            "length_ratio": self.length_ratio,
            "counts": dataclasses.asdict(self.counts),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """All locales of one model, in the order of their tags."""

    locales: Mapping[str, LocaleScore]

    @property
    def macro(self) -> float:
        """Mean of the locales' rates, each with the same weight; WER and CER are mixed if both occur."""
        return self.mean_rate(self.locales)

    def mean_rate(self, locales: Iterable[str]) -> float:
        """Return the mean rate over some locales, say the targets of a run."""
        rates = [self.locales[locale].rate for locale in locales]
        return sum(rates) / len(rates)

    def to_json(self) -> dict[str, Any]:
        """Return the value of `models[NAME]` in `metrics.json`."""
        return {
            "locales": {locale: score.to_json() for locale, score in self.locales.items()},
            "macro": self.macro,
        }


def score_pairs(rows: Sequence[Hypothesis], *, replications: int = REPLICATIONS, seed: int = 0) -> EvalReport:
    """Score the hypotheses of one model, locale by locale.

    Raises:
        DataError: there are no rows, an id stands twice, or a locale has no reference token at all.
    """
    if not rows:
        raise DataError("no hypotheses to score", fix="check that the test set is not empty")
    rows_by_id(rows)
    by_locale = rows_by_locale(rows)
    return EvalReport(
        locales={
            locale: _score_locale(by_locale[locale], locale=locale, replications=replications, seed=seed)
            for locale in sorted(by_locale)
        }
    )


def count_pair(row: Hypothesis, *, unit: Unit, view: View = "normalised") -> Counts:
    """Count the errors of one utterance."""
    reference = tokens(view_text(row.ref, locale=row.locale, view=view), unit=unit)
    written = tokens(view_text(row.hyp, locale=row.locale, view=view), unit=unit)
    if not reference:
        return Counts(silent_utterances=1, hallucinated_tokens=len(written))
    # Lists, never strings: given a string, kaldialign compares its characters, blanks included.
    edits = kaldialign.edit_distance(reference, written)
    return Counts(
        substitutions=int(edits["sub"]),
        deletions=int(edits["del"]),
        insertions=int(edits["ins"]),
        tokens=len(reference),
        hypothesis_tokens=len(written),
        utterances=1,
        empty_hypotheses=int(not written),
    )


def rows_by_locale(rows: Iterable[Hypothesis]) -> dict[str, list[Hypothesis]]:
    """Return the rows of each locale, in their order."""
    by_locale: dict[str, list[Hypothesis]] = defaultdict(list)
    for row in rows:
        by_locale[row.locale].append(row)
    return by_locale


def rows_by_id(rows: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    """Return the rows by utterance id.

    Raises:
        DataError: an id stands twice.
    """
    by_id: dict[str, Hypothesis] = {}
    for row in rows:
        if row.id in by_id:
            raise DataError(
                f"utterance id {row.id!r} stands twice among the hypotheses",
                fix="score each utterance once; ids must be unique over all locales of a test set",
            )
        by_id[row.id] = row
    return by_id


def _score_locale(rows: Sequence[Hypothesis], *, locale: str, replications: int, seed: int) -> LocaleScore:
    unit = unit_of(locale)
    per_utterance = [count_pair(row, unit=unit) for row in rows]
    total = _sum(per_utterance)
    if not total.tokens:
        raise DataError(
            f"{locale}: none of {len(rows)} references has anything to score after normalising",
            fix="check the transcripts of this locale, or leave it out of the evaluation",
        )
    views = {
        "raw": _view_score(_sum(count_pair(row, unit=unit, view="raw") for row in rows), unit=unit),
        "normalised": _view_score(total, unit=unit),
    }
    if unit == "wer":
        views["characters"] = _view_score(_sum(count_pair(row, unit="cer") for row in rows), unit="cer")
    spoken = [counts for counts in per_utterance if counts.tokens]
    errors, lengths = [counts.errors for counts in spoken], [counts.tokens for counts in spoken]
    samples = resampled_rates(errors, lengths, replications=replications, seed=seed)
    return LocaleScore(
        unit=unit,
        counts=total,
        ci95=interval95(samples),
        utterances=len(rows),
        views=views,
    )


def _view_score(counts: Counts, *, unit: Unit) -> ViewScore:
    return ViewScore(unit=unit, errors=counts.errors, tokens=counts.tokens, rate=counts.rate)


def _sum(counts: Iterable[Counts]) -> Counts:
    return functools.reduce(operator.add, counts, Counts())
