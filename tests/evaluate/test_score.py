"""Rates come from summed counts, agree with jiwer, and refuse test sets that do not match."""

from __future__ import annotations

import itertools

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import DataError
from asr_ray.evaluate.score import (
    Counts,
    Hypothesis,
    count_pair,
    score_pairs,
)
from asr_ray.testing.transcripts import made_up_hypotheses

NEXT_ID = itertools.count()


def row(ref: str, hyp: str, *, locale: str = "el-GR", id: str = "") -> Hypothesis:
    return Hypothesis(id=id or f"u{next(NEXT_ID)}", locale=locale, ref=ref, hyp=hyp, duration_s=1.0)


def test_totals_equal_jiwer_on_random_pairs() -> None:
    rows = made_up_hypotheses(2_500, noise=0.4)
    score = score_pairs(rows, replications=10).locales["el-GR"]
    words = jiwer.process_words([r.ref for r in rows], [r.hyp for r in rows])
    assert score.errors == words.substitutions + words.deletions + words.insertions
    assert score.rate == pytest.approx(words.wer)
    characters = jiwer.process_characters(
        [r.ref.replace(" ", "") for r in rows], [r.hyp.replace(" ", "") for r in rows]
    )
    assert score.views["characters"].rate == pytest.approx(characters.cer)


@settings(max_examples=200, deadline=None)
@given(
    ref=st.lists(st.sampled_from("abc"), min_size=1, max_size=8),
    hyp=st.lists(st.sampled_from("abc"), max_size=8),
)
def test_one_pair_equals_jiwer(ref: list[str], hyp: list[str]) -> None:
    counts = count_pair(row(" ".join(ref), " ".join(hyp)), unit="wer")
    oracle = jiwer.process_words(" ".join(ref), " ".join(hyp))
    assert counts.errors == oracle.substitutions + oracle.deletions + oracle.insertions
    assert counts.tokens - counts.deletions + counts.insertions == counts.hypothesis_tokens


def test_words_are_compared_as_words() -> None:
    assert count_pair(row("άλφα βήτα", "άλφα γάμα"), unit="wer") == Counts(
        substitutions=1, tokens=2, hypothesis_tokens=2, utterances=1
    )


def test_rate_is_of_summed_counts_not_a_mean_of_rates() -> None:
    rows = [row("ένα", "δύο"), row("ένα δύο ένα δύο", "ένα δύο ένα δύο")]
    assert score_pairs(rows).locales["el-GR"].rate == pytest.approx(1 / 5)


def test_unit_follows_the_locale() -> None:
    rows = [row("你好 世界", "你好世間", locale="zh-CN"), row("ένα δύο", "ένα", locale="el-GR")]
    report = score_pairs(rows)
    assert (report.locales["zh-CN"].unit, report.locales["zh-CN"].rate) == ("cer", 0.25)
    assert (report.locales["el-GR"].unit, report.locales["el-GR"].rate) == ("wer", 0.5)
    assert report.macro == pytest.approx(0.375)
    assert "characters" not in report.locales["zh-CN"].views


def test_raw_view_counts_case_and_punctuation() -> None:
    score = score_pairs([row("Ένα, δύο.", "ένα δύο.")]).locales["el-GR"]
    assert (score.views["raw"].errors, score.views["normalised"].errors) == (1, 0)


def test_empty_hypotheses_and_length_are_reported() -> None:
    score = score_pairs([row("ένα δύο", ""), row("ένα", "ένα δύο δύο δύο")]).locales["el-GR"]
    assert score.empty_rate == 0.5
    assert score.length_ratio == pytest.approx(4 / 3)


def test_silence_stays_out_of_the_rate() -> None:
    rows = [row("...", "ένα δύο"), row("ένα", "ένα")]
    score = score_pairs(rows).locales["el-GR"]
    assert (score.rate, score.utterances, score.counts.hallucinated_tokens) == (0.0, 2, 2)


@pytest.mark.parametrize("rows", [[], [row("?!", "ένα")]])
def test_nothing_to_score_is_an_error(rows: list[Hypothesis]) -> None:
    with pytest.raises(DataError):
        score_pairs(rows)


def test_duplicate_id_is_an_error() -> None:
    with pytest.raises(DataError, match="stands twice"):
        score_pairs([row("ένα", "ένα", id="a"), row("δύο", "δύο", id="a", locale="bg-BG")])


def test_interval_holds_the_rate_shrinks_with_data_and_is_reproducible() -> None:
    small, large = (score_pairs(made_up_hypotheses(n, noise=0.3)).locales["el-GR"] for n in (50, 800))
    for score in (small, large):
        assert score.ci95[0] < score.rate < score.ci95[1]
    assert large.ci95[1] - large.ci95[0] < (small.ci95[1] - small.ci95[0]) / 2
    assert score_pairs(made_up_hypotheses(50, noise=0.3)).locales["el-GR"].ci95 == small.ci95


def test_interval_covers_the_true_rate_about_95_times_in_100() -> None:
    truth = score_pairs(made_up_hypotheses(6_000, noise=0.3, seed=1), replications=1).locales["el-GR"].rate
    scores = [
        score_pairs(made_up_hypotheses(60, noise=0.3, seed=seed), replications=400).locales["el-GR"]
        for seed in range(100, 160)
    ]
    covered = sum(score.ci95[0] <= truth <= score.ci95[1] for score in scores)
    assert 51 <= covered <= 60
