"""The marked errors are those that were counted, in every locale."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.evaluate.scoring.diff import Edit, align
from asr_ray.evaluate.scoring.score import Hypothesis, count_pair


def row(ref: str, hyp: str, *, locale: str = "el-GR") -> Hypothesis:
    return Hypothesis(id="a", locale=locale, ref=ref, hyp=hyp, duration_s=1.0)


def test_words_are_shown_as_written_and_compared_as_scored() -> None:
    assert align(row("Γεια σου, κόσμε!", "γεια κόσμε όλοι")) == [
        Edit(kind="match", ref="Γεια", hyp="γεια"),
        Edit(kind="deletion", ref="σου,", hyp=""),
        Edit(kind="match", ref="κόσμε!", hyp="κόσμε"),
        Edit(kind="insertion", ref="", hyp="όλοι"),
    ]


@settings(max_examples=200)
@given(
    ref=st.lists(st.sampled_from(["don't", "twenty", "one", "Mr.", "well-known", "Stop!", "-"]), max_size=6),
    hyp=st.lists(st.sampled_from(["do", "not", "21", "one", "mister", "well", "stop"]), max_size=6),
    locale=st.sampled_from(["en-US", "fr-FR"]),
)
def test_as_many_errors_are_marked_as_counted(ref: list[str], hyp: list[str], locale: str) -> None:
    pair = row(" ".join(ref), " ".join(hyp), locale=locale)
    counts = count_pair(pair, unit="wer")
    marked = sum(edit.kind != "match" for edit in align(pair))
    assert marked == counts.errors + counts.hallucinated_tokens


def test_neighbouring_characters_are_shown_together() -> None:
    assert align(row("今日は良い", "今日わ", locale="ja-JP")) == [
        Edit(kind="match", ref="今日", hyp="今日"),
        Edit(kind="substitution", ref="は", hyp="わ"),
        Edit(kind="deletion", ref="良い", hyp=""),
    ]


@pytest.mark.parametrize("locale", ["el-GR", "th-TH"])
def test_nothing_written_is_all_missing(locale: str) -> None:
    assert {edit.kind for edit in align(row("α β", "", locale=locale))} == {"deletion"}
