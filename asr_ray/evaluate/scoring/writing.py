"""Punctuation and case: what a rate of normalised words cannot see, and this model is asked to write.

Punctuation error rate, after Meister et al., "LibriSpeech-PC: Benchmark for Evaluation of Punctuation and
Capitalization Capabilities of End-to-End ASR Models" (arXiv:2310.02943): words and marks are aligned
together, then (substituted + missing + added) / (these + correct) is taken over the marks alone.

Case error rate: the share of words that are right but for their capitals, of all words that are right when
case is ignored. Scripts without capitals have none.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass, fields
from typing import Self

import kaldialign

from asr_ray.evaluate.scoring.normalise import normalise, view_text
from asr_ray.evaluate.scoring.policies import policy_of
from asr_ray.locales import Unit

# Of Latin, Greek, Arabic, Devanagari, Chinese and Japanese writing; full-width forms are folded before.
_MARKS = frozenset(".,?!;:¿¡·،؟؛।。、")
_ONE = f"[{re.escape(''.join(sorted(_MARKS)))}]"

# A mark between two letters or digits belongs to the word: 3.5, e.g, 12:30.
_AT_AN_EDGE = re.compile(rf"(?<!\w){_ONE}|{_ONE}(?!\w)")

# Without blanks between words only digits hold a mark between them.
_NOT_IN_A_NUMBER = re.compile(rf"(?<!\d){_ONE}|{_ONE}(?!\d)")

_ELLIPSIS = re.compile(r"\.{2,}")

_GAP = "\x00"
_NO_LOCALE = "und"


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingCounts:
    """Counts over marks and over words that match but for case; add them up, divide at the end.

    Attributes:
        matched_words: 0 for scripts without capitals.
        case_errors: of these, the ones written with other capitals.
    """

    marks_correct: int = 0
    marks_substituted: int = 0
    marks_missing: int = 0
    marks_added: int = 0
    matched_words: int = 0
    case_errors: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    @property
    def punctuation_error_rate(self) -> float | None:
        """Wrong marks of all marks on either side; None when nobody wrote one."""
        wrong = self.marks_substituted + self.marks_missing + self.marks_added
        return wrong / (wrong + self.marks_correct) if wrong + self.marks_correct else None

    @property
    def case_error_rate(self) -> float | None:
        """Words with other capitals of all matched words; None when there were none to judge."""
        return self.case_errors / self.matched_words if self.matched_words else None


def count_writing(ref: str, hyp: str, *, locale: str, unit: Unit) -> WritingCounts:
    """Count errors of punctuation and case in one utterance; a silent reference counts nothing.

    Args:
        unit: "cer" aligns characters, where blanks do not separate words.
    """
    reference, written = (_pieces(text, locale, unit) for text in (ref, hyp))
    if not any(key and key not in _MARKS for key, _ in reference):
        return WritingCounts()
    has_case = policy_of(locale).has_case
    counts = dict.fromkeys((field.name for field in fields(WritingCounts)), 0)
    left, right = iter(reference), iter(written)
    for ref_key, hyp_key in kaldialign.align(
        [key for key, _ in reference], [key for key, _ in written], _GAP
    ):
        said = "" if ref_key == _GAP else next(left)[1]
        wrote = "" if hyp_key == _GAP else next(right)[1]
        if kind := _mark_outcome(ref_key, hyp_key):
            for name in kind:
                counts[name] += 1
        elif ref_key == hyp_key and has_case:
            counts["matched_words"] += 1
            counts["case_errors"] += said != wrote
    return WritingCounts(**counts)


def _mark_outcome(ref_key: str, hyp_key: str) -> tuple[str, ...]:
    ref_mark, hyp_mark = ref_key in _MARKS, hyp_key in _MARKS
    if ref_mark and hyp_mark:
        return ("marks_correct",) if ref_key == hyp_key else ("marks_substituted",)
    # A mark against a word is a mark missing or added, whatever the alignment calls it.
    return ("marks_missing",) if ref_mark else ("marks_added",) if hyp_mark else ()


@functools.lru_cache(maxsize=65_536)
def _pieces(text: str, locale: str, unit: Unit) -> tuple[tuple[str, str], ...]:
    """Return (what is compared, what was written) for each word, or character, and each mark."""
    raw = unicodedata.normalize("NFKC", view_text(text, locale=locale, view="raw"))
    raw = _ELLIPSIS.sub(".", raw)
    edge = _NOT_IN_A_NUMBER if unit == "cer" else _AT_AN_EDGE
    pieces = edge.sub(lambda match: f" {match.group()} ", raw).split()
    if unit == "cer":
        pieces = list("".join(pieces))
    found = (_piece(piece, locale) for piece in pieces)
    return tuple(piece for piece in found if piece[0])


@functools.lru_cache(maxsize=65_536)
def _piece(piece: str, locale: str) -> tuple[str, str]:
    """Return a word without case and signs, and its letters as written; a mark stands for itself."""
    if piece in _MARKS:
        return piece, piece
    # English without the Whisper rules, which would open one word into two.
    key = normalise(piece, locale=_NO_LOCALE if policy_of(locale).method == "whisper-english" else locale)
    return key, "".join(character for character in piece if character.isalnum())
