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

from asr_ray.evaluate.policies import NumberWords

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine

_MOST_DIGITS = 12
_DIGIT = re.compile(r"\d")

_BLANKS = "\u0020\u00a0\u2007\u2009\u202f"

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


@functools.cache
def _pattern(numbers: NumberWords) -> re.Pattern[str]:
    group = f"[{_BLANKS}{',٬' if numbers.point else '.'}]"
    # `[^\W_]` is a letter or digit of any script.
    glued = "[A-Za-z]" if numbers.language in _WITHOUT_BLANKS else r"[^\W\d_]"
    before = rf"(?<!\d)(?<!{glued})(?<!\d[.,:/٫٬])"
    after = rf"(?!\d)(?!{glued})(?![.,:/٫٬]\d)"
    grouped = [rf"\d{{1,3}}(?:{group}\d{{3}})+"]
    if numbers.point:
        grouped.append(r"\d{1,2}(?:,\d{2})+,\d{3}")  # lakhs and crores
    # One or two digits and a point inside a sentence: the third, not three and a full stop.
    ordinal = r"(?!\d{1,2}\.\s+\w)" if numbers.ordinal_point else ""
    return re.compile(rf"{before}{ordinal}(?:{'|'.join(grouped)}|\d+){after}")


def _spelled(match: re.Match[str], numbers: NumberWords) -> str:
    written = match.group()
    digits = re.sub(r"\D", "", written)
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
