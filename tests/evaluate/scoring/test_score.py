"""Rates come from summed counts, agree with jiwer, and refuse test sets that do not match."""

from __future__ import annotations

import dataclasses
import itertools
import json

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import DataError
from asr_ray.evaluate.scoring.counts import Counts, Hypothesis, count_pair, total_of
from asr_ray.evaluate.scoring.score import LocaleScore, score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses

NEXT_ID = itertools.count()


def row(ref: str, hyp: str, *, locale: str = "el-GR", id: str = "") -> Hypothesis:
    return Hypothesis(id=id or f"u{next(NEXT_ID)}", locale=locale, ref=ref, hyp=hyp, duration_s=1.0)


def test_totals_equal_jiwer_on_10_000_random_pairs() -> None:
    rows = made_up_hypotheses(10_000, noise=0.4)
    for unit, split in (("wer", str.split), ("cer", lambda text: list(text.replace(" ", "")))):
        total = total_of([count_pair(r, unit=unit) for r in rows])
        # The oracle knows no tokens that are not words between blanks.
        spoken = [" ".join(split(r.ref)) for r in rows]
        written = [" ".join(split(r.hyp)) for r in rows]
        words = jiwer.process_words(spoken, written)
        assert total.errors == words.substitutions + words.deletions + words.insertions
        assert total.tokens == words.substitutions + words.deletions + words.hits
        assert total.rate == pytest.approx(words.wer)


def test_a_report_adds_up_the_same_counts() -> None:
    rows = made_up_hypotheses(500, noise=0.4)
    score = score_pairs(rows, replications=10).locales["el-GR"]
    for unit, view in (("wer", "normalised"), ("cer", "characters")):
        total = total_of([count_pair(r, unit=unit) for r in rows])
        seen = score.views[view]
        assert seen is not None
        assert (seen.unit, seen.errors, seen.tokens, seen.rate) == (
            unit,
            total.errors,
            total.tokens,
            total.rate,
        )


@settings(max_examples=200)
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


def view_errors(score: LocaleScore) -> dict[str, int | None]:
    return {name: view.errors if view else None for name, view in score.views.items()}


def test_views_see_what_they_are_for() -> None:
    greek = score_pairs([row("Ένα, δύο: 25.", "ένα δύο είκοσι πέντε.")]).locales["el-GR"]
    assert view_errors(greek) == {
        "raw": 4,
        "normalised": 2,
        "number_canonical": 0,
        "leaderboard": None,
        "characters": 11,
    }
    german = score_pairs([row("Haus Tür", "Haustür", locale="de-DE")]).locales["de-DE"]
    assert (german.views["leaderboard"], german.errors) != (None, 0)
    assert view_errors(german)["leaderboard"] == 0
    arabic = score_pairs([row("إلى المَدرسة", "الى المدرسة", locale="ar-AR")]).locales["ar-AR"]
    assert (arabic.errors, view_errors(arabic)["unfolded"]) == (0, 2)


def test_korean_is_also_scored_in_words() -> None:
    korean = score_pairs([row("안녕 하세요", "안녕하세요", locale="ko-KR")]).locales["ko-KR"]
    words = korean.views["words"]
    assert words is not None
    assert (korean.errors, words.unit, words.errors, words.tokens) == (0, "wer", 2, 2)


def test_a_language_without_number_words_says_so() -> None:
    score = score_pairs([row("mtu 1", "mtu mmoja", locale="sw-KE")]).locales["sw-KE"]
    assert score.views["number_canonical"] is None
    assert score.to_json()["views"]["number_canonical"] is None
    assert score.to_json()["views"]["leaderboard"] is None


def test_punctuation_and_case_have_rates_of_their_own() -> None:
    score = score_pairs([row("Ένα, δύο.", "ένα δύο.")]).locales["el-GR"]
    assert score.to_json()["punctuation_error_rate"] == pytest.approx(1 / 2)
    assert score.to_json()["case_error_rate"] == pytest.approx(1 / 2)


def test_empty_hypotheses_and_length_are_reported() -> None:
    score = score_pairs([row("ένα δύο", ""), row("ένα", "ένα δύο δύο δύο")]).locales["el-GR"]
    assert score.empty_rate == 0.5
    assert score.length_ratio == pytest.approx(4 / 3)


def test_silence_stays_out_of_the_rate() -> None:
    rows = [row("...", "ένα δύο"), row("ένα", "ένα")]
    score = score_pairs(rows).locales["el-GR"]
    assert (score.rate, score.utterances, score.counts.hallucinated_tokens) == (0.0, 2, 2)


def test_hallucination_rate_is_over_silent_utterances() -> None:
    rows = [
        row("[silence]", "ένα δύο"),
        row("", ""),
        row("...", "ένα"),
        row("<noise>", "?"),
        row("ένα", "ένα"),
    ]
    score = score_pairs(rows).locales["el-GR"]
    assert score.hallucination_rate == pytest.approx(2 / 4)
    assert score_pairs(rows[-1:]).locales["el-GR"].hallucination_rate is None


def test_collapse_is_seen_before_the_rate_shows_it() -> None:
    rows = [
        row("ένα δύο", "ena dyo <el-GR>"),  # another script
        row("ένα δύο", "ένα δύο <el-GR>"),  # the tag does not count as script
        row("ένα", "τρία τρία τρία"),  # three errors of one word
        row("ένα δύο", ""),
    ]
    found = score_pairs(rows).locales["el-GR"].to_json()
    assert found["script_mismatch_rate"] == pytest.approx(1 / 4)
    assert found["beyond_full_rate"] == pytest.approx(1 / 4)
    assert found["empty_rate"] == pytest.approx(1 / 4)


@pytest.mark.parametrize("rows", [[], [row("?!", "ένα")]])
def test_nothing_to_score_is_an_error(rows: list[Hypothesis]) -> None:
    with pytest.raises(DataError):
        score_pairs(rows)


def test_duplicate_id_is_an_error() -> None:
    with pytest.raises(DataError, match="stands twice"):
        score_pairs([row("ένα", "ένα", id="a"), row("δύο", "δύο", id="a", locale="bg-BG")])


def test_utterances_that_were_not_decoded_are_not_forgiven() -> None:
    rows = [row("ένα", "ένα", id="a"), row("δύο", "δύο", id="b")]
    assert score_pairs(rows, expected_ids={"a", "b"}).macro == 0.0
    for expected in ({"a", "b", "c"}, {"a"}):
        with pytest.raises(DataError):
            score_pairs(rows, expected_ids=expected)


def test_scoring_leaves_the_hypotheses_as_they_are() -> None:
    rows = made_up_hypotheses(20, noise=0.4)
    score_pairs(rows)
    assert rows == made_up_hypotheses(20, noise=0.4)


def test_report_is_plain_json_and_tells_words_from_characters() -> None:
    rows = [row("你好", "你号", locale="zh-CN"), row("ένα δύο", "ένα <el-GR>"), row("[silence]", "")]
    found = json.loads(json.dumps(score_pairs(rows).to_json(), allow_nan=False))
    assert (found["macro"], found["macro_wer"], found["macro_cer"]) == (0.5, 0.5, 0.5)
    assert found["tags"]["confusion"] == {"el-GR": {"el-GR": 1, "": 1}, "zh-CN": {"": 1}}
    assert score_pairs(rows[:1]).to_json()["macro_wer"] is None
    assert score_pairs(rows[:1]).to_json()["tags"] is None


def test_sentences_of_one_speaker_are_drawn_together() -> None:
    # Ten speakers, all of whose twenty sentences are right or wrong alike: 200 utterances say as much as ten.
    rows = [
        dataclasses.replace(row("ένα", "ένα" if speaker % 2 else "δύο"), speaker=str(speaker))
        for speaker in range(10)
        for _ in range(20)
    ]
    by_speaker = score_pairs(rows).locales["el-GR"]
    by_utterance = score_pairs([dataclasses.replace(r, speaker="") for r in rows]).locales["el-GR"]
    assert (by_speaker.resampled, by_utterance.resampled) == ("speaker", "utterance")
    assert by_speaker.rate == by_utterance.rate == 0.5
    widths = [score.ci95[1] - score.ci95[0] for score in (by_speaker, by_utterance)]
    assert widths[0] > 3 * widths[1]


def test_interval_holds_the_rate_shrinks_with_data_and_is_reproducible() -> None:
    small, large = (score_pairs(made_up_hypotheses(n, noise=0.3)).locales["el-GR"] for n in (50, 800))
    for score in (small, large):
        assert score.ci95[0] < score.rate < score.ci95[1]
    assert large.ci95[1] - large.ci95[0] < (small.ci95[1] - small.ci95[0]) / 2
    assert score_pairs(made_up_hypotheses(50, noise=0.3)).locales["el-GR"].ci95 == small.ci95


def test_interval_covers_the_true_rate_about_95_times_in_100() -> None:
    truth = total_of([count_pair(r, unit="wer") for r in made_up_hypotheses(6_000, noise=0.3, seed=1)]).rate
    scores = [
        score_pairs(made_up_hypotheses(60, noise=0.3, seed=seed), replications=400).locales["el-GR"]
        for seed in range(100, 160)
    ]
    covered = sum(score.ci95[0] <= truth <= score.ci95[1] for score in scores)
    assert 51 <= covered <= 60
