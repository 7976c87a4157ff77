"""Sentences drawn from the grammars of the phrasebook, each in one split for good.

Pure functions of their arguments: which sentences there are depends on the grammar alone, which
split a sentence belongs to on the sentence alone, and which are drawn on (locale, split, seed).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Literal, get_args

from asr_ray.errors import ConfigError
from asr_ray.testing.phrasebook import GRAMMARS, Grammar

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

MAX_WORDS = 9
"""Longer expansions are left out: they would take more than four or five seconds to say."""

_TRAIN_SHARE = 0.75
_VALIDATION_SHARE = 0.10  # the remaining 15% of all sentences are for testing

_PUNCTUATION = ".,;?!¿¡ "

_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def grammar_of(locale: str) -> Grammar:
    """Return the grammar of `locale`; ConfigError names those that exist."""
    if locale not in GRAMMARS:
        raise ConfigError(
            f"no sentence grammar for locale {locale!r}",
            fix=f"choose among {', '.join(GRAMMARS)}, or add a Grammar to asr_ray/testing/phrasebook.py",
        )
    return GRAMMARS[locale]


def expand(pattern: str, *, grammar: Grammar) -> Iterator[str]:
    """Yield every text that `pattern` stands for, fillers in the order they are written."""
    literals = _SLOT.split(pattern)  # text, slot name, text, slot name, ..., text
    fillers = [
        [text for filler in grammar.slots[name] for text in expand(filler, grammar=grammar)]
        for name in literals[1::2]
    ]
    for choice in product(*fillers):
        pieces = list(literals)
        pieces[1::2] = choice
        yield "".join(pieces)


@cache
def sentences(locale: str, *, split: Split | None = None) -> tuple[str, ...]:
    """Every distinct sentence of `locale` (of one split, or of all), in template order."""
    everything = _template_of_sentence(locale)
    return tuple(s for s in everything if split in (None, split_of(s, locale=locale)))


def words(sentence: str) -> list[str]:
    """Word forms of `sentence` in lower case; a hyphen parts words, an apostrophe does not."""
    return [word.lower() for word in _WORD.findall(sentence)]


def vocabulary(locale: str) -> frozenset[str]:
    """The word forms of every sentence of `locale`, in lower case."""
    return frozenset(word for sentence in sentences(locale) for word in words(sentence))


def split_of(sentence: str, *, locale: str) -> Split:
    """The one split that `sentence` belongs to, whatever else is drawn: its hash decides (75/10/15%)."""
    position = _unit_hash("split", locale, sentence)
    if position < _TRAIN_SHARE:
        return "train"
    return "validation" if position < _TRAIN_SHARE + _VALIDATION_SHARE else "test"


def phrase_of(sentence: str, *, seed: int) -> str:
    """Return one to three consecutive words of `sentence`, without the punctuation around them."""
    tokens = sentence.split()
    length = 1 + int(3 * _unit_hash("phrase length", seed, sentence))
    start = int((len(tokens) - min(length, len(tokens)) + 1) * _unit_hash("phrase start", seed, sentence))
    return " ".join(tokens[start : start + length]).strip(_PUNCTUATION)


def draw_sentences(locale: str, *, count: int, seed: int, split: Split | None = None) -> list[str]:
    """Draw `count` distinct sentences at random, each template as often as any other while it lasts.

    Weighted sampling without replacement by exponential waiting times (Efraimidis and Spirakis,
    2006), the randomness being a hash of (seed, sentence): fewer sentences are a prefix of more.

    Args:
        split: only sentences of this split; None draws from all.

    Raises:
        ConfigError: no grammar for `locale`, or it has fewer than `count` such sentences.
    """
    in_order = _in_order_of_arrival(locale, seed=seed, split=split)
    if not 0 <= count <= len(in_order):
        raise ConfigError(
            f"cannot draw {count} distinct sentences: {locale} ({split or 'all splits'}) has {len(in_order)}",
            fix=f"ask for 0 to {len(in_order)} sentences",
        )
    return list(in_order[:count])


@cache
def _in_order_of_arrival(locale: str, *, seed: int, split: Split | None) -> tuple[str, ...]:
    template_of = _template_of_sentence(locale)
    candidates = sentences(locale, split=split)
    num_expansions = Counter(template_of[sentence] for sentence in candidates)

    def waiting_time(sentence: str) -> float:
        # Exponential at rate 1/expansions, so that every template as a whole arrives at rate 1.
        uniform = _unit_hash("draw", seed, locale, sentence)
        return -math.log1p(-uniform) * num_expansions[template_of[sentence]]

    return tuple(sorted(candidates, key=waiting_time))


@cache
def _template_of_sentence(locale: str) -> Mapping[str, str]:
    grammar = grammar_of(locale)
    found: dict[str, str] = {}
    for template in grammar.templates:
        for sentence in expand(template, grammar=grammar):
            if len(sentence.split()) <= MAX_WORDS:
                found.setdefault(sentence, template)
    return found


def _unit_hash(*key: str | int) -> float:
    """A number in [0, 1) that depends on `key` alone, on every machine."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
