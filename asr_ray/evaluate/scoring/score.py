"""Hypotheses -> error counts -> rates that can be trusted.

    rate = (substitutions + deletions + insertions) / reference tokens

over a whole test set: counts are summed and divided once, never averaged over utterances. Tokens are
words (WER) or characters without blanks (CER), as `asr_ray.locales` says for each locale. The split into
substitutions, deletions and insertions depends on how ties are broken and is indicative; totals are not.

Utterances whose reference has no tokens, or is marked as silence, say nothing about the rate and are kept
out of it; what a model writes there is counted apart (`hallucinated_utterances`, `hallucinated_tokens`).
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_ray.data.checks.text_checks import script_share
from asr_ray.errors import DataError
from asr_ray.evaluate.scoring.bootstrap import (
    REPLICATIONS,
    Interval,
    Resampled,
    interval95,
    resampled_sums,
    speaker_groups,
)
from asr_ray.evaluate.scoring.counts import (
    Counts,
    Hypothesis,
    check_ids,
    compared_texts,
    count_as_leaderboard,
    count_pair,
    count_tokens,
    rows_by_id,
    rows_by_locale,
    total_of,
)
from asr_ray.evaluate.scoring.leaderboard import on_leaderboard
from asr_ray.evaluate.scoring.normalise import View, tokens, view_text, views_of
from asr_ray.evaluate.scoring.tags import TagScore, score_tags
from asr_ray.evaluate.scoring.writing import WritingCounts, count_writing
from asr_ray.locales import Unit, unit_of

__all__ = [
    "Counts",
    "EvalReport",
    "Hypothesis",
    "LocaleScore",
    "ViewScore",
    "count_pair",
    "is_in_another_script",
    "rows_by_id",
    "rows_by_locale",
    "score_pairs",
]

# Less than this share of letters in the script of the locale: the model wrote another language.
_OWN_SCRIPT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewScore:
    """One locale seen through one view; `unit` says what its tokens are."""

    unit: Unit
    errors: int
    tokens: int
    rate: float
    ci95: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleScore:
    """How one model does in one locale; counts and rate are those of the normalised view.

    Attributes:
        ci95: bootstrap interval of the rate.
        resampled: what the interval was drawn over.
        utterances: all of them, silent ones included.
        views: "raw", "normalised", "number_canonical" and "leaderboard", the last two None where the
            language is not covered or nothing is left to score; "unfolded" where the policy forgives
            letters or marks; "characters" (normalised, CER) for locales scored in words, "words" for
            Korean. All over the spoken utterances.
        writing: punctuation and case.
        script_mismatches: hypotheses that are mostly in another script than the locale's.
        beyond_full: spoken utterances with more errors than reference tokens; collapse shows here first.
    """

    unit: Unit
    counts: Counts
    ci95: Interval
    resampled: Resampled
    utterances: int
    views: Mapping[str, ViewScore | None]
    writing: WritingCounts
    script_mismatches: int
    beyond_full: int

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

    @property
    def hallucination_rate(self) -> float | None:
        """Share of silent utterances for which something was written; None without silent ones."""
        silent = self.counts.silent_utterances
        return self.counts.hallucinated_utterances / silent if silent else None

    @property
    def script_mismatch_rate(self) -> float:
        """Share of hypotheses that are mostly in another script than the locale's."""
        return self.script_mismatches / self.utterances

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return {
            "unit": self.unit,
            "errors": self.errors,
            "tokens": self.tokens,
            "rate": self.rate,
            "ci95": list(self.ci95),
            "resampled": self.resampled,
            "utterances": self.utterances,
            "views": {
                name: view and dataclasses.asdict(view) | {"ci95": list(view.ci95)}
                for name, view in self.views.items()
            },
            "punctuation_error_rate": self.writing.punctuation_error_rate,
            "case_error_rate": self.writing.case_error_rate,
            "empty_rate": self.empty_rate,
            "hallucination_rate": self.hallucination_rate,
            "length_ratio": self.length_ratio,
            "script_mismatch_rate": self.script_mismatch_rate,
            "beyond_full_rate": self.beyond_full / self.counts.utterances,
            "counts": dataclasses.asdict(self.counts),
            "writing": dataclasses.asdict(self.writing),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """All locales of one model, in the order of their tags.

    Attributes:
        tags: languages named by the model; None when it named none.
    """

    locales: Mapping[str, LocaleScore]
    tags: TagScore | None = None

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
            # Means over the locales of one unit, for those who will not add words and characters.
            **{f"macro_{unit}": self._macro_of(unit) for unit in ("wer", "cer")},
            "tags": self.tags and self.tags.to_json(),
        }

    def _macro_of(self, unit: str) -> float | None:
        alike = [locale for locale, score in self.locales.items() if score.unit == unit]
        return self.mean_rate(alike) if alike else None


def score_pairs(
    rows: Sequence[Hypothesis],
    *,
    replications: int = REPLICATIONS,
    seed: int = 0,
    expected_ids: Collection[str] | None = None,
) -> EvalReport:
    """Score the hypotheses of one model, locale by locale.

    Args:
        expected_ids: of the test set; an utterance that is missing is then an error, not forgiven.

    Raises:
        DataError: there are no rows, an id stands twice, ids are not the expected ones, or a locale has
            no reference token at all.
    """
    if not rows:
        raise DataError("no hypotheses to score", fix="check that the test set is not empty")
    found = rows_by_id(rows)
    if expected_ids is not None:
        check_ids(found, expected=expected_ids)
    by_locale = rows_by_locale(rows)
    return EvalReport(
        locales={
            locale: _score_locale(by_locale[locale], locale=locale, replications=replications, seed=seed)
            for locale in sorted(by_locale)
        },
        tags=score_tags((row.locale, row.hyp) for row in rows),
    )


def _score_locale(rows: Sequence[Hypothesis], *, locale: str, replications: int, seed: int) -> LocaleScore:
    unit = unit_of(locale)
    normalised = [count_pair(row, unit=unit) for row in rows]
    total = total_of(normalised)
    if not total.tokens:
        raise DataError(
            f"{locale}: none of {len(rows)} references has anything to score after normalising",
            fix="check the transcripts of this locale, or leave it out of the evaluation",
        )
    spoken = [row for row, counts in zip(rows, normalised, strict=True) if counts.tokens]
    counted = _counts_by_view(spoken, locale=locale, normalised=[each for each in normalised if each.tokens])
    groups = speaker_groups([row.speaker for row in spoken])
    views = _view_scores(counted, unit=unit, groups=groups, replications=replications, seed=seed)
    return LocaleScore(
        unit=unit,
        counts=total,
        ci95=views["normalised"].ci95,
        resampled="speaker" if groups else "utterance",
        utterances=len(rows),
        views=dict.fromkeys(_ALWAYS_NAMED) | views,
        writing=functools.reduce(
            operator.add, (count_writing(row.ref, row.hyp, locale=locale, unit=unit) for row in spoken)
        ),
        script_mismatches=sum(is_in_another_script(row) for row in rows),
        beyond_full=sum(each.errors > each.tokens for each in normalised if each.tokens),
    )


_ALWAYS_NAMED = ("raw", "normalised", "number_canonical", "leaderboard")
_OTHER_UNITS: dict[str, Unit] = {"characters": "cer", "words": "wer", "leaderboard": "wer"}

# Korean has blanks between words, but no agreement on where they belong.
_ALSO_IN_WORDS = frozenset({"ko"})


def _view_scores(
    counted: Mapping[str, Sequence[Counts]],
    *,
    unit: Unit,
    groups: Sequence[str] | None,
    replications: int,
    seed: int,
) -> dict[str, ViewScore]:
    """Return the score of each view that has something to score."""
    totals = {name: total_of(counts) for name, counts in counted.items()}
    named = [name for name, total in totals.items() if total.tokens]
    # One set of draws for all views, so that their intervals can be compared.
    columns = [[getattr(each, field) for each in counted[name]] for name in named for field in _RATE]
    sums = resampled_sums(np.column_stack(columns), replications=replications, seed=seed, groups=groups)
    return {
        name: ViewScore(
            unit=_OTHER_UNITS.get(name, unit),
            errors=totals[name].errors,
            tokens=totals[name].tokens,
            rate=totals[name].rate,
            ci95=interval95(_rates(sums[:, 2 * index], sums[:, 2 * index + 1])),
        )
        for index, name in enumerate(named)
    }


_RATE = ("errors", "tokens")


def _rates(errors: npt.NDArray[np.float64], tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # A draw without any reference token says nothing; only tiny test sets have one.
    drawn = tokens > 0
    return errors[drawn] / tokens[drawn]


def _counts_by_view(
    rows: Sequence[Hypothesis], *, locale: str, normalised: Sequence[Counts]
) -> dict[str, Sequence[Counts]]:
    """Return the counts of each utterance in each view that the locale has."""
    unit = unit_of(locale)
    found: dict[str, Sequence[Counts]] = {
        view: [
            _count_again(row, counts, unit=unit, view=view)
            for row, counts in zip(rows, normalised, strict=True)
        ]
        for view in views_of(locale)
    }
    if unit == "wer":
        found["characters"] = [count_pair(row, unit="cer") for row in rows]
    elif locale.partition("-")[0] in _ALSO_IN_WORDS:
        found["words"] = [count_pair(row, unit="wer") for row in rows]
    if on_leaderboard(locale):
        found["leaderboard"] = [count_as_leaderboard(row) for row in rows]
    return found


def _count_again(row: Hypothesis, normalised: Counts, *, unit: Unit, view: View) -> Counts:
    """Count the errors of one utterance in another view; most look the same in most of them."""
    texts = compared_texts(row, view=view)
    if texts == compared_texts(row, view="normalised"):
        return normalised
    reference, written = (tokens(text, unit=unit) for text in texts)
    return count_tokens(reference, written)


def is_in_another_script(row: Hypothesis) -> bool:
    """Whether most letters of a hypothesis are in another script than the one of its locale."""
    # Without its tag, which is Latin everywhere.
    written = view_text(row.hyp, locale=row.locale, view="raw")
    return script_share(written, locale=row.locale) < _OWN_SCRIPT
