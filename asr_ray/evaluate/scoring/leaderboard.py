"""The scoring of the Open ASR Leaderboard, to stand beside its published numbers; never our headline.

English: the Whisper normaliser after dotted initials and ellipses are closed up. German, French, Italian,
Spanish, Portuguese and Dutch: Whisper's basic normaliser with marks kept, remaining signs dropped, digits
spelled out by num2words. Words written together on one side and apart on the other cost nothing, and
references without words are left out. Text in brackets is deleted, as there.

Follows huggingface/open_asr_leaderboard of August 2026 (`normalizer/`). Not in any library, hence not here:
its own list of names and compounds for English. Hindi is scored there on lattices of spellings that no
plain test set has, other languages not at all: they have no leaderboard score.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from difflib import SequenceMatcher

from asr_ray.evaluate.scoring.whisper import english

_ENGLISH = "en"
_OTHERS = frozenset({"de", "fr", "it", "es", "pt", "nl"})

_ELLIPSIS = re.compile(r"\s*\.{3,}\s*")
_INITIALS = re.compile(r"\b[a-z](?:\.[a-z])+\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"(\d)\s+(\d{3})\b")

Words = tuple[str, ...]


def on_leaderboard(locale: str) -> bool:
    """Whether the leaderboard scores the language of `locale` with word error rates."""
    language = locale.partition("-")[0]
    return language == _ENGLISH or language in _OTHERS


def leaderboard_words(ref: str, hyp: str, *, locale: str) -> tuple[Words, Words]:
    """Return the words of reference and hypothesis as the leaderboard compares them.

    They are to be aligned with `merge_compounds`. An empty reference says that the utterance is left out.

    Args:
        locale: one that is `on_leaderboard`.
    """
    language = locale.partition("-")[0]
    reference, written = (_normalised(text, language).split() for text in (ref, hyp))
    if language != _ENGLISH:
        reference, written = _join_compounds(reference, written)
    return tuple(reference), tuple(written)


@functools.lru_cache(maxsize=65_536)
def _normalised(text: str, language: str) -> str:
    if language == _ENGLISH:
        closed = _INITIALS.sub(lambda match: match.group().replace(".", ""), _ELLIPSIS.sub(" ", text))
        return english(closed)
    words = re.sub(r"[^\w\s]", "", _basic()(text)).strip()
    return re.sub(r"\d+", lambda match: _spelled(match.group(), language), _THOUSANDS.sub(r"\1\2", words))


@functools.lru_cache(maxsize=65_536)
def _spelled(digits: str, language: str) -> str:
    from num2words import num2words

    try:
        return str(num2words(int(digits), lang=language))
    except (OverflowError, NotImplementedError, ValueError, IndexError, KeyError):
        return digits  # larger than the language has words for


def _join_compounds(reference: list[str], written: list[str]) -> tuple[list[str], list[str]]:
    """Join, on both sides, stretches that differ in nothing but blanks."""
    joined: tuple[list[str], list[str]] = ([], [])
    matcher = SequenceMatcher(None, reference, written)
    for kind, ref_start, ref_end, hyp_start, hyp_end in matcher.get_opcodes():
        sides = reference[ref_start:ref_end], written[hyp_start:hyp_end]
        same_letters = kind != "equal" and "".join(sides[0]) == "".join(sides[1])
        for words, side in zip(joined, sides, strict=True):
            words.extend(["".join(side)] if same_letters else side)
    return joined


@functools.cache
def _basic() -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer(preserve_marks=True)  # type: ignore[no-any-return]
