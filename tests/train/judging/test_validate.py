"""Rates of a validation: counted by each rank, added up, divided once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.train.judging.validate import rates_of, tally_of

WRITTEN = (
    "καλημέρα <el-GR>",
    "καλημέρα σε όλους",
    "kalimera se olous <en-US>",
    " <el-GR>",
    "",
    "καλημέρα <en-US> <el-GR>",
)


def row(written: str, *, ref: str = "Καλημέρα σε όλους.") -> Hypothesis:
    return Hypothesis(id=written, locale="el-GR", ref=ref, hyp=written, duration_s=1.0)


def test_a_tag_is_no_word_and_tells_the_language() -> None:
    found = rates_of([tally_of([row(each) for each in WRITTEN], locale="el-GR")])
    # Of three words each: two missing, none, three others, three missing twice, two missing.
    assert found["rate"] == pytest.approx((2 + 0 + 3 + 3 + 3 + 2) / 18)
    assert found["empty_rate"] == pytest.approx(2 / 6)
    assert found["length_ratio"] == pytest.approx((1 + 3 + 3 + 0 + 0 + 1) / 18)
    assert found["script_mismatch_rate"] == pytest.approx(1 / 6)
    # The last tag counts; no tag is not the right one.
    assert found["tag_accuracy"] == pytest.approx(3 / 6)
    assert found["utterances"] == 6


def test_a_model_that_writes_no_tags_has_no_accuracy_of_them() -> None:
    found = rates_of([tally_of([row("καλημέρα")], locale="el-GR")])
    assert found["tag_accuracy"] is None


def test_a_rank_without_utterances_counts_nothing() -> None:
    one = tally_of([row("καλημέρα <el-GR>")], locale="el-GR")
    assert rates_of([one, tally_of([], locale="el-GR")]) == rates_of([one])


@given(ranks=st.lists(st.lists(st.sampled_from(WRITTEN)), min_size=1, max_size=4))
def test_it_does_not_matter_which_rank_decoded_what(ranks: list[list[str]]) -> None:
    parts = [tally_of([row(each) for each in rank], locale="el-GR") for rank in ranks]
    together = tally_of([row(each) for rank in ranks for each in rank], locale="el-GR")
    assert rates_of(parts) == pytest.approx(rates_of([together]))
