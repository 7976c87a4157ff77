"""Counting one utterance: silence is recognised, characters are never counted for words, ids must match."""

from __future__ import annotations

import functools
import operator

import kaldialign
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import DataError
from asr_ray.evaluate.scoring.counts import (
    Counts,
    Hypothesis,
    check_ids,
    count_pair,
    count_tokens,
    is_silence,
    total_of,
)


def row(ref: str, hyp: str) -> Hypothesis:
    return Hypothesis(id="a", locale="en-US", ref=ref, hyp=hyp, duration_s=1.0)


@pytest.mark.parametrize(
    "text", ["", "  ", "[silence]", "<sil>", "(Noise).", "[NO SPEECH]", "ignore time segment in scoring"]
)
def test_silence_has_many_names(text: str) -> None:
    assert is_silence(text)
    assert count_pair(row(text, "hello you"), unit="wer") == Counts(
        silent_utterances=1, hallucinated_utterances=1, hallucinated_tokens=2
    )
    assert count_pair(row(text, ""), unit="wer") == Counts(silent_utterances=1)


@pytest.mark.parametrize("text", ["silence", "noise in the street", "[noise] hello", "the (silence) of"])
def test_the_word_is_not_the_thing(text: str) -> None:
    assert not is_silence(text)


def test_the_library_would_count_characters_of_a_string() -> None:
    # The trap: no error, no warning, another number. Everything here passes lists.
    assert kaldialign.edit_distance("ab cd", "ab ce")["ref_len"] == 5
    assert count_pair(row("ab cd", "ab ce"), unit="wer").tokens == 2


def test_compounds_are_merged_only_when_asked() -> None:
    said, wrote = ["a", "part"], ["apart"]
    assert count_tokens(said, wrote).errors == 2
    assert count_tokens(said, wrote, merge_compounds=True).errors == 0


@given(st.lists(st.integers(0, 9), max_size=6))
def test_total_is_the_sum(numbers: list[int]) -> None:
    counts = [Counts(substitutions=n, tokens=2 * n, hallucinated_utterances=n) for n in numbers]
    assert total_of(counts) == functools.reduce(operator.add, counts, Counts())


def test_ids_must_be_those_of_the_test_set() -> None:
    check_ids(["a", "b"], expected=["b", "a"])
    with pytest.raises(DataError, match="1 utterances of the test set have no hypothesis, among them 'b'"):
        check_ids(["a"], expected=["a", "b"])
    with pytest.raises(
        DataError, match="1 hypotheses belong to no utterance of the test set, among them 'c'"
    ):
        check_ids(["a", "b", "c"], expected=["a", "b"])
