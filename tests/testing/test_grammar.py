"""The grammars: few words, many sentences, written with care, and each sentence in one split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.testing.grammar import (
    SPLITS,
    draw_sentences,
    expand,
    sentences,
    split_of,
    vocabulary,
    words,
)
from asr_ray.testing.phrasebook import GRAMMARS, Grammar

SCRIPT = {"el-GR": "GREEK", "bg-BG": "CYRILLIC"}
each_locale = pytest.mark.parametrize("locale", list(GRAMMARS))


@each_locale
def test_thousands_of_sentences_from_few_words(locale: str) -> None:
    assert len(sentences(locale)) >= 2_500
    assert 45 <= len(vocabulary(locale)) <= 60
    assert all(2 <= len(sentence.split()) <= 9 for sentence in sentences(locale))


@each_locale
def test_sentences_are_written_with_care(locale: str) -> None:
    question_mark = ";" if locale == "el-GR" else "?"
    for sentence in sentences(locale):
        assert re.fullmatch(rf"¿?\w.*\w[.{question_mark}]", sentence), sentence
        assert sentence.lstrip("¿")[0].isupper(), sentence
        assert ("¿" in sentence) == (locale == "es-ES" and sentence.endswith("?")), sentence
        assert not re.search(r"[{}]|\s\s|,,|\s,", sentence), sentence
        assert unicodedata.is_normalized("NFC", sentence), sentence


@each_locale
def test_every_letter_belongs_to_the_script_of_the_locale(locale: str) -> None:
    letters = {letter for sentence in sentences(locale) for letter in sentence if letter.isalpha()}
    scripts = {unicodedata.name(letter).split()[0] for letter in letters}
    assert scripts == {SCRIPT.get(locale, "LATIN")}


@each_locale
def test_nobody_is_addressed_twice(locale: str) -> None:
    names = {name.lower() for name in GRAMMARS[locale].slots["name"]}
    assert all(len(names & set(words(sentence))) <= 1 for sentence in sentences(locale))
    assert all(sum(w in names for w in words(sentence)) <= 1 for sentence in sentences(locale))


@each_locale
def test_every_slot_is_filled_and_used(locale: str) -> None:
    grammar = GRAMMARS[locale]
    patterns = [*grammar.templates, *(filler for fillers in grammar.slots.values() for filler in fillers)]
    assert {name for pattern in patterns for name in re.findall(r"\{(\w+)\}", pattern)} == set(grammar.slots)


@each_locale
def test_training_sentences_show_every_word_often_enough_to_learn_it(locale: str) -> None:
    drawn = draw_sentences(locale, count=1_500, seed=1, split="train")
    counts = Counter(word for sentence in drawn for word in words(sentence))
    assert set(counts) == vocabulary(locale)
    assert min(counts.values()) >= 15


@given(
    locale=st.sampled_from(list(GRAMMARS)),
    seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    counts=st.tuples(st.integers(0, 1_200), st.integers(0, 250)),
)
def test_no_sentence_stands_in_two_splits(
    locale: str, seeds: tuple[int, int], counts: tuple[int, int]
) -> None:
    train = draw_sentences(locale, count=counts[0], seed=seeds[0], split="train")
    test = draw_sentences(locale, count=counts[1], seed=seeds[1], split="test")
    assert not set(train) & set(test)
    assert all(split_of(sentence, locale=locale) == "train" for sentence in train)


@each_locale
def test_splits_together_are_the_whole(locale: str) -> None:
    parts = [set(sentences(locale, split=split)) for split in SPLITS]
    assert set.union(*parts) == set(sentences(locale))
    assert sum(map(len, parts)) == len(sentences(locale))
    shares = [len(part) / len(sentences(locale)) for part in parts]
    assert shares == pytest.approx([0.75, 0.10, 0.15], abs=0.03)


@given(
    locale=st.sampled_from(list(GRAMMARS)),
    seed=st.integers(0, 3),
    fewer=st.integers(0, 500),
    extra=st.integers(0, 500),
)
def test_fewer_sentences_are_a_prefix_of_more(locale: str, seed: int, fewer: int, extra: int) -> None:
    more = draw_sentences(locale, count=fewer + extra, seed=seed)
    assert draw_sentences(locale, count=fewer, seed=seed) == more[:fewer]
    assert len(set(more)) == len(more)


def test_seeds_draw_different_sentences() -> None:
    assert draw_sentences("en-US", count=50, seed=1) != draw_sentences("en-US", count=50, seed=2)


@each_locale
def test_templates_share_the_first_draws_evenly(locale: str) -> None:
    grammar = GRAMMARS[locale]
    template_of = {
        text: template for template in grammar.templates for text in expand(template, grammar=grammar)
    }
    drawn = Counter(template_of[s] for s in draw_sentences(locale, count=200, seed=1))
    # Each would get 200/templates, about 12; the smallest run out of sentences before that.
    assert set(drawn) == set(grammar.templates)
    assert max(drawn.values()) <= 3 * 200 / len(grammar.templates)


def test_expanding_nests_slots_and_keeps_the_written_order() -> None:
    grammar = Grammar(
        locale="en-US",
        slots={"number": ("two", "{tens}-one"), "tens": ("twenty", "thirty"), "please": ("", ", please")},
        templates=("Wait {number} minutes{please}.",),
    )
    assert list(expand(grammar.templates[0], grammar=grammar)) == [
        "Wait two minutes.",
        "Wait two minutes, please.",
        "Wait twenty-one minutes.",
        "Wait twenty-one minutes, please.",
        "Wait thirty-one minutes.",
        "Wait thirty-one minutes, please.",
    ]


def test_words_part_at_hyphens_and_keep_accents_and_final_sigma() -> None:
    assert words("Keep it at fifty-two, X'ħin.") == ["keep", "it", "at", "fifty", "two", "x'ħin"]
    assert words("Φεύγει στις οκτώ;") == ["φεύγει", "στις", "οκτώ"]


def test_an_unknown_locale_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="xx-YY") as caught:
        draw_sentences("xx-YY", count=1, seed=1)
    assert all(locale in caught.value.fix for locale in GRAMMARS)


@pytest.mark.parametrize("count", [-1, 10_000_000])
def test_more_sentences_than_there_are_is_refused_with_the_number(count: int) -> None:
    with pytest.raises(ConfigError, match="el-GR") as caught:
        draw_sentences("el-GR", count=count, seed=1, split="validation")
    assert str(len(sentences("el-GR", split="validation"))) in caught.value.fix
