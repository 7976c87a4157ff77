"""What exactly a model got wrong in one utterance, word by word."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import kaldialign

from asr_ray.evaluate.scoring.normalise import normalise, tokens, view_text
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.locales import Unit, unit_of

EditKind = Literal["match", "substitution", "deletion", "insertion"]

# kaldialign marks a gap with a symbol of our choice; no normalised token is a control character.
_GAP = "\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One step of an alignment; `ref` is empty for insertions, `hyp` for deletions."""

    kind: EditKind
    ref: str
    hyp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """What is compared, and how it is shown."""

    key: str
    shown: str


def align(row: Hypothesis) -> list[Edit]:
    """Align one hypothesis with its reference as it is scored.

    Words are shown with case and punctuation wherever each written word is scored as one token;
    otherwise (contractions, number words, characters) the compared form is shown, so that the marked
    errors are always those that were counted. Neighbouring characters of one kind are shown together.
    """
    unit = unit_of(row.locale)
    reference = _shown_tokens(row.ref, locale=row.locale, unit=unit)
    written = _shown_tokens(row.hyp, locale=row.locale, unit=unit)
    pairs = kaldialign.align([token.key for token in reference], [token.key for token in written], _GAP)
    left, right = iter(reference), iter(written)
    edits = []
    for ref_key, hyp_key in pairs:
        ref = "" if ref_key == _GAP else next(left).shown
        hyp = "" if hyp_key == _GAP else next(right).shown
        edits.append(Edit(kind=_kind(ref_key, hyp_key), ref=ref, hyp=hyp))
    return edits if unit == "wer" else _joined(edits)


def _shown_tokens(text: str, *, locale: str, unit: Unit) -> list[_Token]:
    scored = tokens(normalise(text, locale=locale), unit=unit)
    if unit == "wer":
        words = view_text(text, locale=locale, view="raw").split()
        pairs = [_Token(key=normalise(word, locale=locale), shown=word) for word in words]
        pairs = [token for token in pairs if token.key]
        if [token.key for token in pairs] == scored:
            return pairs
    return [_Token(key=token, shown=token) for token in scored]


def _kind(ref_key: str, hyp_key: str) -> EditKind:
    if ref_key == hyp_key:
        return "match"
    if ref_key == _GAP:
        return "insertion"
    return "deletion" if hyp_key == _GAP else "substitution"


def _joined(edits: Iterable[Edit]) -> list[Edit]:
    groups = itertools.groupby(edits, key=lambda edit: edit.kind)
    return [_merge(kind, list(group)) for kind, group in groups]


def _merge(kind: EditKind, edits: Sequence[Edit]) -> Edit:
    ref, hyp = ("".join(side) for side in zip(*((edit.ref, edit.hyp) for edit in edits), strict=True))
    return Edit(kind=kind, ref=ref, hyp=hyp)
