"""Text -> what is compared when scoring; never what is stored or trained on.

Views of a transcript:

    raw               as written: case and punctuation count, only language tags and blanks are tidied
    normalised        lower case, no punctuation, one spelling for letters Unicode can write in two ways
    unfolded          the same without the rules of the locale: every letter and mark counts
    number_canonical  normalised, whole numbers spelled out, so that 1976 equals its words

What "one spelling" means depends on the locale (`policies.py`, `docs/normalisers.md`). English
follows the Whisper normaliser, as published leaderboards do: contractions opened, number words as digits,
American spelling; its normalised view is number-canonical already.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Literal

from asr_ray.errors import ConfigError
from asr_ray.evaluate.scoring.number_words import join_digits, spell_numbers
from asr_ray.evaluate.scoring.policies import NORMALISER_VERSION, Policy, policy_of
from asr_ray.evaluate.scoring.whisper import english
from asr_ray.locales import Unit

__all__ = ["NORMALISER_VERSION", "View", "language_tags", "normalise", "tokens", "view_text", "views_of"]

View = Literal["raw", "normalised", "unfolded", "number_canonical"]
"""A way of looking at a transcript before it is compared."""

_LANGUAGE_TAG = re.compile(r"<([a-z]{2,3}-[A-Z]{2})>")

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u02b9\u00b4\u0060\u2032\uff07", "'"))

# Brackets as blanks: the Whisper normaliser would delete the words between them, that is,
# count a correct word as missing whenever a model writes parentheses.
_BRACKETS = str.maketrans(dict.fromkeys("<>[]()", " "))


def language_tags(text: str) -> tuple[str, ...]:
    """Return the locales named by `<xx-XX>` tags in `text`, in order, without the angle brackets."""
    return tuple(_LANGUAGE_TAG.findall(text))


@functools.cache
def views_of(locale: str) -> tuple[View, ...]:
    """Return the views that mean something in a locale.

    "unfolded" is left out where it equals "normalised", "number_canonical" where nothing spells out the
    numbers of the language.
    """
    policy = policy_of(locale)
    english = policy.method == "whisper-english"
    views: list[View] = ["raw", "normalised"]
    if policy.folds:
        views.append("unfolded")
    if policy.numbers or english:
        views.append("number_canonical")
    return tuple(views)


def view_text(text: str, *, locale: str, view: View) -> str:
    """Return `text` as `view` compares it; words are separated by single blanks.

    Raises:
        ConfigError: the locale has no such view, see `views_of`.
    """
    if view not in views_of(locale):
        raise ConfigError(f"{locale} has no {view} view", fix=f"choose among {', '.join(views_of(locale))}")
    return _VIEWS[view](text, locale)


def normalise(text: str, *, locale: str) -> str:
    """Return `text` without tags, case, punctuation and optional marks.

    Applying it twice changes nothing more, except in English, where opened contractions and number
    words are read a second time.

    Args:
        locale: BCP-47 tag such as `el-GR`; the language part chooses the policy of unofficial ones.
    """
    return _normalised(text, locale)


def tokens(text: str, *, unit: Unit) -> list[str]:
    """Return the words of `text`, or for "cer" its characters (code points) without blanks."""
    if unit == "cer":
        return list("".join(text.split()))
    return text.split()


# Each transcript is asked for several times: in words, in characters, against a second model.
@functools.lru_cache(maxsize=65_536)
def _normalised(text: str, locale: str) -> str:
    policy = policy_of(locale)
    return _compared(_prepared(_with_whole_numbers(text, policy)), policy)


@functools.lru_cache(maxsize=65_536)
def _number_canonical(text: str, locale: str) -> str:
    policy = policy_of(locale)
    if policy.numbers is None:
        return _normalised(text, locale)
    prepared = _prepared(text)
    spelled = spell_numbers(prepared, numbers=policy.numbers)
    return _normalised(text, locale) if spelled == prepared else _compared(_prepared(spelled), policy)


def _unfolded(text: str, locale: str) -> str:
    policy = _unfolded_policy(locale)
    return _by_character(_prepared(_with_whole_numbers(text, policy)), policy)


@functools.cache
def _unfolded_policy(locale: str) -> Policy:
    return policy_of(locale).unfolded()


def _raw(text: str, locale: str) -> str:
    # NFC: the same letter composed or not is one letter, whoever typed it.
    return " ".join(unicodedata.normalize("NFC", _LANGUAGE_TAG.sub(" ", text)).split())


def _with_whole_numbers(text: str, policy: Policy) -> str:
    # Else 10.000 would be two words and 10000 one.
    return join_digits(text, numbers=policy.numbers) if policy.numbers else text


def _prepared(text: str) -> str:
    # Apostrophes first: NFKC turns the acute accent typed for one into a blank and a mark.
    return unicodedata.normalize("NFKC", _LANGUAGE_TAG.sub(" ", text).translate(_APOSTROPHES))


def _compared(prepared: str, policy: Policy) -> str:
    if policy.method == "whisper-english":
        return english(prepared.translate(_BRACKETS))
    return _by_character(prepared, policy)


def _by_character(text: str, policy: Policy) -> str:
    unformatted = _FORMAT.sub("", text)
    folded = unformatted.translate(_folds(policy)) if policy.rules else unformatted
    # Lower-casing can leave a letter and a mark side by side (İ outside Turkish), and dropping a joiner
    # can bring them together: compose again before characters are looked at one by one.
    lowered = unicodedata.normalize("NFKC", folded.lower())
    for pattern, replacement in _patterns(policy):
        lowered = pattern.sub(replacement, lowered)
    kept = unicodedata.normalize("NFKC", lowered.translate(_scored_forms(policy)))
    words = (word.strip("'") for word in kept.split())
    return " ".join(word for word in words if word)


class _Forms(dict[int, str]):
    """A table for `str.translate` that works out each character once, when it is first met."""

    def __init__(self, form: Callable[[str], str]) -> None:
        self._form = form

    def __missing__(self, code: int) -> str:
        self[code] = form = self._form(chr(code))
        return form


# Joiners, bidirectional controls, soft hyphens, byte-order marks, tags: all that text in use holds.
_IN_USE = map(chr, (*range(0x10000), *range(0xE0000, 0xE0080)))
_FORMAT = re.compile(f"[{''.join(sign for sign in _IN_USE if unicodedata.category(sign) == 'Cf')}]")


@functools.cache
def _folds(policy: Policy) -> dict[int, str]:
    characters = {old: new for rule in policy.rules for old, new in rule.characters.items()}
    return str.maketrans(characters)


@functools.cache
def _patterns(policy: Policy) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(old), new) for rule in policy.rules for old, new in rule.patterns)


@functools.cache
def _scored_forms(policy: Policy) -> _Forms:
    return _Forms(lambda character: _scored_form(character, policy))


def _scored_form(character: str, policy: Policy) -> str:
    """Return what stands for one lower-case character: itself, a folded form, a blank or nothing."""
    kind = unicodedata.category(character)
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if character == "ς":
        # str.lower() picks the final or the medial form by what follows, which a cut word gets wrong.
        return "σ"
    if kind[0] == "M":
        return character if policy.keeps_marks else ""
    if policy.joins_quotes and character in "'\"״׳":
        return ""
    return character if kind[0] in "LN" or character == "'" else " "


_VIEWS: dict[View, Callable[[str, str], str]] = {
    "raw": _raw,
    "normalised": _normalised,
    "unfolded": _unfolded,
    "number_canonical": _number_canonical,
}
