"""What a transcript tells about itself: its script, characters nobody can say, encodings gone wrong.

All functions are pure and look at text alone. They are conservative: each finds what is certainly wrong and
lets pass what may be right, for a transcript that is put aside is lost.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from asr_ray.locales import LOCALES

# First words of the Unicode names of letters, by script of `asr_ray.locales`.
_NAME_PREFIXES: dict[str, tuple[str, ...]] = {
    "Arabic": ("ARABIC",),
    "Cyrillic": ("CYRILLIC",),
    "Devanagari": ("DEVANAGARI",),
    "Greek": ("GREEK",),
    "Han": ("CJK",),
    "Hangul": ("HANGUL",),
    "Hebrew": ("HEBREW",),
    "Japanese": ("CJK", "HIRAGANA", "KATAKANA"),
    "Latin": ("LATIN",),
    "Thai": ("THAI",),
}

_REPLACEMENT = "\ufffd"
_SPACES = "\t\n\r"

# The bytes that Windows-1252 leaves undefined keep their numbers, as browsers have it.
_BYTE_OF = {bytes([code]).decode("cp1252", "ignore") or chr(code): code for code in range(0x80, 0x100)}
_BYTE_OF |= {chr(code): code for code in range(0x80)} | {chr(code): code for code in range(0x80, 0xA0)}

# Two bytes of a typographic quote, dash or ellipsis; no language writes these two characters together.
_BROKEN_PUNCTUATION = re.compile("â(?:€|\x80)[\x80-\x9f\u0152-\u2122¦¢]")

# What mostly remains when UTF-8 is read as Windows-1252 and back: accented letters, marks, signs.
_PLAUSIBLE = re.compile(
    "[\u00a0-\u017f\u0218-\u021b\u0300-\u036f\u1e00-\u1eff\u2010-\u2044\u20ac\u2122\u3000-\u303f\uff00-\uffef]"
)

# Marks that may follow a letter in honest text and are continuation bytes at the same time.
_CLOSING = frozenset("…’”“‘–—›»\xa0")


def script_share(text: str, *, locale: str) -> float:
    """Return the share of letters of `text` in the script of `locale`; 1.0 where none can be judged."""
    official = LOCALES.get(locale)
    # Compatibility forms such as full-width Latin carry other names than the letters they stand for.
    letters = [character for character in unicodedata.normalize("NFKC", text) if character.isalpha()]
    if official is None or not letters:
        return 1.0
    return sum(_is_in_script(letter, official.script) for letter in letters) / len(letters)


@lru_cache(maxsize=65_536)
def _is_in_script(letter: str, script: str) -> bool:
    return unicodedata.name(letter, "").startswith(_NAME_PREFIXES[script])


def control_character(text: str) -> str | None:
    """Return the first control character (Unicode category Cc) that is no white space, None without one.

    Marks of direction and joiners are of another category: Hebrew, Persian and Hindi need them.
    """
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in _SPACES:
            return character
    return None


def mojibake(text: str, *, locale: str) -> str | None:
    """Return what shows that `text` was decoded with a wrong encoding; None when nothing does.

    Found are U+FFFD, which stands for bytes that an earlier program could not read, and UTF-8 that was read
    as Latin-1 or Windows-1252. The latter needs more than a suspicious letter: either the remains of a
    typographic mark, or a transcript that turns as a whole into plausible text of its locale when it is
    encoded and decoded the other way round.
    """
    if text.isascii():
        return None
    if _REPLACEMENT in text:
        return "a replacement character (U+FFFD) stands where something could not be read"
    if broken := _BROKEN_PUNCTUATION.search(text):
        return f"{broken.group()!r} is a punctuation mark in UTF-8, read as Windows-1252"
    repaired = _repaired(text)
    if repaired is None or not _is_plausible(repaired, locale=locale) or not _has_evidence(text):
        return None
    return f"UTF-8 read as Windows-1252; it was {repaired[:60]!r}"


def _repaired(text: str) -> str | None:
    """Undo UTF-8 -> Windows-1252; None if the text cannot have come about like this."""
    try:
        return bytes(_BYTE_OF[character] for character in text).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return None


def _is_plausible(repaired: str, *, locale: str) -> bool:
    """Whether each character that came out is a mark, an accented letter, or of the script of the locale.

    Not every Latin letter will do: `CAFÉ…` would turn into one that only phoneticians write.
    """
    script = LOCALES[locale].script if locale in LOCALES else "Latin"
    return all(
        _PLAUSIBLE.match(character) or (script != "Latin" and _is_in_script(character, script))
        for character in repaired
        if not character.isascii()
    )


def _has_evidence(text: str) -> bool:
    """Whether something else is there than a capital before a closing mark (`HYVÄ…` is honest Finnish)."""
    return any(
        not character.isascii()
        and _BYTE_OF[character] < 0xC0
        and not (character in _CLOSING and place > 1 and text[place - 2].isupper())
        for place, character in enumerate(text)
    )


def spoken_characters(text: str) -> str:
    """Return letters, their marks and digits, compatibility forms and case folded away.

    What two transcripts of the same words have in common, however they are punctuated.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if unicodedata.category(character)[0] in "LMN")


def text_hash(text: str, *, locale: str) -> int:
    """Return 64 bits over `spoken_characters` and the locale: the same words in two locales are two texts."""
    content = f"{locale}\0{spoken_characters(text)}"
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big")
