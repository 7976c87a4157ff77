"""Text -> what is compared when scoring; never what is stored or trained on.

Two views of a transcript are scored:

    raw         as written: case and punctuation count, only language tags and blanks are tidied
    normalised  lower case, no punctuation, one spelling for letters Unicode can write in two ways

What "one spelling" means depends on the language (`Policy`). Marks that carry vowels (Devanagari, Thai)
are kept; marks that readers leave out (Arabic harakat, Hebrew niqqud) are dropped. English follows the
Whisper normaliser, as published leaderboards do: contractions opened, number words as digits, American
spelling. All other numbers stay as they were written.

A changed rule changes scores: raise `NORMALISER_VERSION`, which is written beside every result.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from asr_ray.locales import Unit

NORMALISER_VERSION = "1"

View = Literal["raw", "normalised"]
"""A way of looking at a transcript before it is compared."""

_LANGUAGE_TAG = re.compile(r"<([a-z]{2,3}-[A-Z]{2})>")

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u02b9\u00b4\u0060\u2032\uff07", "'"))

# Brackets as blanks: the Whisper normaliser would delete the words between them, that is,
# count a correct word as missing whenever a model writes parentheses.
_BRACKETS = str.maketrans(dict.fromkeys("<>[]()", " "))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # hashed by identity, for the cache
class Policy:
    """What sets one language apart when its transcripts are compared.

    Attributes:
        fold: single characters -> replacement, applied before lower-casing.
        keeps_marks: False drops combining marks, for scripts whose marks are optional.
        joins_quotes: quotes inside words are dropped, not turned into blanks (Hebrew acronyms).
    """

    fold: Mapping[int, str] = field(default_factory=dict)
    keeps_marks: bool = True
    joins_quotes: bool = False


_POLICIES: dict[str, Policy] = {
    # Alef carriers written with or without hamza, alef maqsura and Persian yeh, and the stretching
    # tatweel differ between writers, not between utterances.
    "ar": Policy(
        fold=str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ـ": ""}),
        keeps_marks=False,
    ),
    "he": Policy(keeps_marks=False, joins_quotes=True),
    # str.lower() gives a dotted i for I, and i + U+0307 for İ.
    "tr": Policy(fold=str.maketrans({"I": "ı", "İ": "i"})),
    "az": Policy(fold=str.maketrans({"I": "ı", "İ": "i"})),
    # The cedilla letters stand in for the comma-below ones on older keyboards.
    "ro": Policy(fold=str.maketrans({"ş": "ș", "Ş": "ș", "ţ": "ț", "Ţ": "ț"})),
    # The dots of yo are optional in print.
    "ru": Policy(fold=str.maketrans({"ё": "е", "Ё": "е"})),
}
_DEFAULT_POLICY = Policy()


def language_tags(text: str) -> tuple[str, ...]:
    """Return the locales named by `<xx-XX>` tags in `text`, in order, without the angle brackets."""
    return tuple(_LANGUAGE_TAG.findall(text))


def view_text(text: str, *, locale: str, view: View) -> str:
    """Return `text` as `view` compares it; words are separated by single blanks."""
    return _VIEWS[view](text, locale)


def normalise(text: str, *, locale: str) -> str:
    """Return `text` without tags, case, punctuation and optional marks.

    Applying it twice changes nothing more, except in English, where opened contractions and number
    words are read a second time.

    Args:
        locale: BCP-47 tag such as `el-GR`; the language part chooses the policy.
    """
    return _normalised(text, locale)


# Each transcript is asked for several times: in words, in characters, against a second model.
@functools.lru_cache(maxsize=65_536)
def _normalised(text: str, locale: str) -> str:
    language = locale.partition("-")[0]
    # Apostrophes first: NFKC turns the acute accent typed for one into a blank and a mark.
    text = unicodedata.normalize("NFKC", _LANGUAGE_TAG.sub(" ", text).translate(_APOSTROPHES))
    if language == "en":
        return _english_normaliser()(text.translate(_BRACKETS)).strip()
    policy = _POLICIES.get(language, _DEFAULT_POLICY)
    return _apply(policy, text)


def tokens(text: str, *, unit: Unit) -> list[str]:
    """Return the words of `text`, or for "cer" its characters (code points) without blanks."""
    if unit == "cer":
        return [character for character in text if not character.isspace()]
    return text.split()


def _apply(policy: Policy, text: str) -> str:
    # Lower-casing can leave a letter and a mark side by side (İ outside Turkish), and dropping a joiner
    # can bring them together: compose again before characters are looked at one by one.
    lowered = unicodedata.normalize("NFKC", _without_format(text).translate(policy.fold).lower())
    kept = "".join(_scored_form(character, policy) for character in lowered)
    words = (word.strip("'") for word in unicodedata.normalize("NFKC", kept).split())
    return " ".join(word for word in words if word)


def _without_format(text: str) -> str:
    """Drop joiners, bidirectional controls, soft hyphens and byte-order marks."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


@functools.lru_cache(maxsize=65_536)
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


@functools.cache
def _english_normaliser() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()  # type: ignore[no-any-return]


def _raw(text: str, locale: str) -> str:
    # NFC: the same letter composed or not is one letter, whoever typed it.
    return " ".join(unicodedata.normalize("NFC", _LANGUAGE_TAG.sub(" ", text)).split())


_VIEWS: dict[View, Callable[[str, str], str]] = {"raw": _raw, "normalised": _normalised}
