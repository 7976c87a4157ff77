"""Punctuation and case are counted apart from words, in scripts with and without capitals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.evaluate.scoring.writing import WritingCounts, count_writing
from asr_ray.locales import LOCALES, unit_of


def count(ref: str, hyp: str, locale: str) -> WritingCounts:
    return count_writing(ref, hyp, locale=locale, unit=unit_of(locale))


def marks(counts: WritingCounts) -> tuple[int, int, int, int]:
    return counts.marks_correct, counts.marks_substituted, counts.marks_missing, counts.marks_added


@pytest.mark.parametrize(
    ("locale", "ref", "hyp", "expected"),
    [
        ("en-US", "Yes, it is.", "Yes, it is.", (2, 0, 0, 0)),
        ("en-US", "Yes, it is.", "Yes it is?", (0, 1, 1, 0)),
        ("en-US", "Yes it is", "Yes, it is.", (0, 0, 0, 2)),
        ("en-US", "It costs 3.50 at 12:30.", "It costs 3.50 at 12:30.", (1, 0, 0, 0)),
        ("en-US", "Wait\u2026", "Wait...", (1, 0, 0, 0)),
        ("el-GR", "Τι λες\u037e", "Τι λες;", (1, 0, 0, 0)),
        ("es-ES", "¿Qué tal?", "Qué tal?", (1, 0, 1, 0)),
        ("hi-IN", "क्या हुआ? ठीक है।", "क्या हुआ? ठीक है", (1, 0, 1, 0)),
        ("ar-AR", "كيف حالك؟", "كيف حالك.", (0, 1, 0, 0)),
        ("he-IL", "שָׁלוֹם, עוֹלָם!", "שלום, עולם!", (2, 0, 0, 0)),
        ("ja-JP", "はい、そうです。", "はいそうです。", (1, 0, 1, 0)),
        ("zh-CN", "你好，世界。", "你好,世界。", (2, 0, 0, 0)),
        ("th-TH", "ใช่ไหม? ใช่", "ใช่ไหม ใช่", (0, 0, 1, 0)),
    ],
)
def test_marks(locale: str, ref: str, hyp: str, expected: tuple[int, int, int, int]) -> None:
    assert marks(count(ref, hyp, locale)) == expected


def test_punctuation_error_rate_is_wrong_marks_of_all_marks() -> None:
    counts = count("One, two. Three!", "One two? Three! Four.", "en-US")
    assert marks(counts) == (1, 1, 1, 1)
    assert counts.punctuation_error_rate == pytest.approx(3 / 4)
    assert count("one two", "one two", "en-US").punctuation_error_rate is None


def test_case_is_judged_on_words_that_are_otherwise_right() -> None:
    counts = count("The Queen of England", "the queen for England", "en-GB")
    assert (counts.matched_words, counts.case_errors) == (3, 2)
    assert counts.case_error_rate == pytest.approx(2 / 3)


def test_case_follows_the_language() -> None:
    assert count("Iğdır İzmir", "ığdır izmir", "tr-TR").case_errors == 2
    assert count("ΟΔΟΣ", "οδος", "el-GR").case_errors == 1


@pytest.mark.parametrize("locale", ["ar-AR", "he-IL", "hi-IN", "ja-JP", "ko-KR", "th-TH", "zh-CN"])
def test_scripts_without_capitals_have_no_case_errors(locale: str) -> None:
    counts = count("OK abc 你好 हाँ", "ok ABC 你好 हाँ", locale)
    assert (counts.matched_words, counts.case_error_rate) == (0, None)


def test_wrong_words_cost_no_marks() -> None:
    counts = count("It rains, today.", "It snows, tomorrow.", "en-US")
    assert marks(counts) == (2, 0, 0, 0)


def test_silence_counts_nothing() -> None:
    assert count("...", "Hello, world.", "en-US") == WritingCounts()
    assert count("", "Hello.", "en-US") == WritingCounts()


@settings(max_examples=200)
@given(
    ref=st.lists(st.sampled_from(["Ένα", "ένα", "δύο,", "τρία.", "(τέσσερα)", ";"]), max_size=8),
    hyp=st.lists(st.sampled_from(["Ένα", "ένα", "δύο,", "τρία.", "(τέσσερα)", ";"]), max_size=8),
    locale=st.sampled_from(sorted(LOCALES)),
)
def test_every_mark_is_counted_once(ref: list[str], hyp: list[str], locale: str) -> None:
    counts = count(" ".join(ref), " ".join(hyp), locale)
    if counts == WritingCounts():
        return
    in_reference, in_hypothesis = ("".join(side) for side in (ref, hyp))
    assert counts.marks_correct + counts.marks_substituted + counts.marks_missing == sum(
        in_reference.count(mark) for mark in ",.;"
    )
    assert counts.marks_correct + counts.marks_substituted + counts.marks_added == sum(
        in_hypothesis.count(mark) for mark in ",.;"
    )
    assert counts.case_errors <= counts.matched_words
