"""One utterance -> error counts; integers that are added up and divided at the end.

Utterances whose reference has no tokens, or is marked as silence, say nothing about a rate and are kept out
of it; what a model writes there is counted apart.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import kaldialign

from asr_ray.errors import DataError
from asr_ray.evaluate.scoring.leaderboard import leaderboard_words
from asr_ray.evaluate.scoring.normalise import View, tokens, view_text
from asr_ray.locales import Unit

# What corpora write where nothing is said, always in brackets, and the one sentence that is not.
_SILENCE = re.compile(
    r"\s*(?:[<\[(]\s*(?:silence|sil|noise|nospeech|no[ _-]speech|inaudible|blank[ _]audio)\s*[>\])]"
    r"|ignore time segment in scoring)\s*[.!]?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What a model wrote for one utterance, next to what was said; both raw.

    Attributes:
        speaker, source: "" where unknown.
        snr_db: estimated from the audio, see `snr`; None where there is too little of it.
    """

    id: str
    locale: str
    ref: str
    hyp: str
    duration_s: float
    speaker: str = ""
    source: str = ""
    snr_db: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Integer counts; add them up, divide at the end.

    Attributes:
        tokens: reference tokens.
        hypothesis_tokens: tokens written for the same utterances.
        utterances: those with reference tokens; only they make the rate.
        empty_hypotheses: of these, the ones for which nothing was written.
        silent_utterances: those without reference tokens.
        hallucinated_utterances: of these, the ones for which something was written.
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
    hallucinated_utterances: int = 0
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


def is_silence(text: str) -> bool:
    """Whether a reference is empty or says, as corpora do, that nothing is said: `[silence]`, `<noise>`."""
    return not text.strip() or _SILENCE.fullmatch(text) is not None


def count_pair(row: Hypothesis, *, unit: Unit, view: View = "normalised") -> Counts:
    """Count the errors of one utterance."""
    reference, written = compared_texts(row, view=view)
    return count_tokens(tokens(reference, unit=unit), tokens(written, unit=unit))


def compared_texts(row: Hypothesis, *, view: View) -> tuple[str, str]:
    """Return reference and hypothesis of one utterance as `view` compares them; "" for silence."""
    reference = "" if is_silence(row.ref) else view_text(row.ref, locale=row.locale, view=view)
    return reference, view_text(row.hyp, locale=row.locale, view=view)


def count_tokens(
    reference: Sequence[str], written: Sequence[str], *, merge_compounds: bool = False
) -> Counts:
    """Count the errors of one utterance in tokens.

    Args:
        merge_compounds: words written together on one side and apart on the other cost nothing.
    """
    if not reference:
        return Counts(
            silent_utterances=1, hallucinated_utterances=int(bool(written)), hallucinated_tokens=len(written)
        )
    # Sequences of tokens, never strings: kaldialign compares the characters of a string, blanks included.
    edits = kaldialign.edit_distance(reference, written, merge_compounds=merge_compounds)
    return Counts(
        substitutions=int(edits["sub"]),
        deletions=int(edits["del"]),
        insertions=int(edits["ins"]),
        tokens=len(reference),
        hypothesis_tokens=len(written),
        utterances=1,
        empty_hypotheses=int(not written),
    )


def count_as_leaderboard(row: Hypothesis) -> Counts:
    """Count the errors of one utterance as the Open ASR Leaderboard does; see `leaderboard_words`."""
    if is_silence(row.ref):
        return Counts(silent_utterances=1)
    reference, written = leaderboard_words(row.ref, row.hyp, locale=row.locale)
    return count_tokens(reference, written, merge_compounds=True)


def total_of(counts: Collection[Counts]) -> Counts:
    """Return the sum; quicker than adding them one by one."""
    names = [field.name for field in dataclasses.fields(Counts)]
    return Counts(**{name: sum(getattr(each, name) for each in counts) for name in names})


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


def check_ids(found: Collection[str], *, expected: Collection[str]) -> None:
    """Compare the ids of hypotheses with those of a test set.

    Raises:
        DataError: one is missing or unknown; left out, it would silently be forgiven.
    """
    missing, unknown = set(expected) - set(found), set(found) - set(expected)
    if missing:
        raise DataError(
            f"{len(missing)} utterances of the test set have no hypothesis, among them {min(missing)!r}",
            fix="decode the whole test set; an empty transcript is a hypothesis too",
        )
    if unknown:
        raise DataError(
            f"{len(unknown)} hypotheses belong to no utterance of the test set, among them {min(unknown)!r}",
            fix="score against the test set that was decoded",
        )
