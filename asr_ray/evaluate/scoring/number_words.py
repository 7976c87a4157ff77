"""Whole numbers in a transcript -> words, so that 1976 and its reading are one text when compared.

Only what is certainly a whole number is spelled out. Decimals, ordinals, dates with points, times, digits
glued to letters, leading zeros and more than twelve digits stay as they were written, on both sides.

Grouped digits count as one number: `10 000` with any blank, `1.000` or `1,000` as the locale writes it, and
`12,34,567` where a comma groups.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from asr_ray.evaluate.scoring.policies import NumberWords

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine

_MOST_DIGITS = 12
_DIGIT, _NO_DIGIT = re.compile(r"\d"), re.compile(r"\D")

_NARROW_BLANKS = "\u00a0\u2007\u2009\u202f"

# Chinese, Japanese, Korean and Thai write numbers and words without a blank between them.
_WITHOUT_BLANKS = frozenset({"ja", "ko", "th", "zh"})


def spell_numbers(text: str, *, numbers: NumberWords) -> str:
    """Return `text` with its whole numbers in words; all else, blanks included, is as it was.

    Args:
        text: in NFKC; digits of any script.
    """
    if not _DIGIT.search(text):
        return text
    return _pattern(numbers).sub(lambda match: _spelled(match, numbers), text)


def join_digits(text: str, *, numbers: NumberWords) -> str:
    """Return `text` with the marks and narrow blanks that group digits taken out: 10.000 -> 10000.

    A common blank is left: only the number-canonical view takes it for a group.

    Args:
        text: before NFKC, which turns narrow blanks into common ones.
    """
    if not _DIGIT.search(text):
        return text
    return _grouped(numbers).sub(lambda match: _NO_DIGIT.sub("", match.group()), text)


@functools.cache
def _pattern(numbers: NumberWords) -> re.Pattern[str]:
    # One or two digits and a point inside a sentence: the third, not three and a full stop.
    ordinal = r"(?!\d{1,2}\.\s+\w)" if numbers.ordinal_point else ""
    groups = _digit_groups(numbers, blanks=f" {_NARROW_BLANKS}")
    return re.compile(f"{_before(numbers)}{ordinal}(?:{groups}|\\d+){_after(numbers)}")


@functools.cache
def _grouped(numbers: NumberWords) -> re.Pattern[str]:
    groups = _digit_groups(numbers, blanks=_NARROW_BLANKS)
    return re.compile(f"{_before(numbers)}(?:{groups}){_after(numbers)}")


def _digit_groups(numbers: NumberWords, *, blanks: str) -> str:
    groups = rf"\d{{1,3}}(?:[{blanks}{',٬' if numbers.point else '.'}]\d{{3}})+"
    # Lakhs and crores, where a comma groups.
    return rf"{groups}|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}" if numbers.point else groups


def _before(numbers: NumberWords) -> str:
    return rf"(?<!\d)(?<!{_glued(numbers)})(?<!\d[.,:/٫٬])"


def _after(numbers: NumberWords) -> str:
    return rf"(?!\d)(?!{_glued(numbers)})(?![.,:/٫٬]\d)"


def _glued(numbers: NumberWords) -> str:
    # A letter of any script, or of Latin alone where numbers and words touch anyway.
    return "[A-Za-z]" if numbers.language in _WITHOUT_BLANKS else r"[^\W\d_]"


def _spelled(match: re.Match[str], numbers: NumberWords) -> str:
    written = match.group()
    digits = _NO_DIGIT.sub("", written)
    if len(digits) > _MOST_DIGITS or (len(digits) > 1 and int(digits[0]) == 0):
        return written
    value, following = int(digits), match.string[match.end() :]
    is_year = bool(numbers.year_rules) and _reads_as_year(
        value, following, numbers, grouped=digits != written
    )
    return _in_words(value, numbers, numbers.year_rules if is_year else numbers.rules)


def _reads_as_year(value: int, following: str, numbers: NumberWords, *, grouped: bool) -> bool:
    if numbers.year_word:
        return following.lstrip().startswith(numbers.year_word) and 1000 <= value <= 9999
    return 1100 <= value <= 1999 and not grouped


@functools.lru_cache(maxsize=65_536)
def _in_words(value: int, numbers: NumberWords, rules: str) -> str:
    if numbers.library == "num2words":
        from num2words import num2words

        words = str(num2words(value, lang=numbers.language))
    else:
        words = _cldr(numbers.language).format_number(value, ruleset_names=[rules]).text
    for wrong, right in numbers.fixes:
        words = words.replace(wrong, right)
    return words


@functools.cache
def _cldr(language: str) -> RbnfEngine:
    from unicode_rbnf import RbnfEngine

    return RbnfEngine.for_language(language)
