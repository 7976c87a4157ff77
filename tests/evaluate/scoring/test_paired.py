"""A paired test sees what two intervals side by side cannot, and refuses sets that do not match."""

from __future__ import annotations

import dataclasses
import json

import pytest

from asr_ray.errors import DataError
from asr_ray.evaluate.scoring.paired import compare, compare_prompts, metrics_document
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses


def row(ref: str, hyp: str, *, id: str, locale: str = "el-GR") -> Hypothesis:
    return Hypothesis(id=id, locale=locale, ref=ref, hyp=hyp, duration_s=1.0)


def test_paired_test_finds_small_consistent_gains_that_intervals_cannot() -> None:
    base = made_up_hypotheses(600, noise=0.3)
    tuned = [dataclasses.replace(r, hyp=r.ref) if index % 12 == 0 else r for index, r in enumerate(base)]
    before, after = (score_pairs(rows).locales["el-GR"] for rows in (base, tuned))
    assert after.ci95[1] > before.ci95[0]
    result = compare(base, tuned)[0]
    assert result.verdict == "better"
    assert result.p_value < 0.01
    assert result.delta == pytest.approx(after.rate - before.rate)
    assert compare(tuned, base)[0].verdict == "worse"


def test_equal_systems_do_not_differ() -> None:
    result = compare(made_up_hypotheses(50, noise=0.3), made_up_hypotheses(50, noise=0.3))[0]
    assert (result.verdict, result.delta, result.p_value) == ("no difference", 0.0, 1.0)


def test_speakers_are_drawn_together() -> None:
    # One speaker in twelve gets worse, and has most of the words: nothing to conclude for other speakers.
    base = [
        dataclasses.replace(row("ένα", "ένα", id=f"{speaker}-{n}"), speaker=str(speaker))
        for speaker in range(12)
        for n in range(60 if speaker == 0 else 5)
    ]
    tuned = [dataclasses.replace(r, hyp="") if r.speaker == "0" else r for r in base]
    by_speaker = compare(base, tuned)[0]
    unknown = [[dataclasses.replace(r, speaker="") for r in rows] for rows in (base, tuned)]
    by_utterance = compare(*unknown)[0]
    assert (by_speaker.verdict, by_speaker.resampled) == ("no difference", "speaker")
    assert (by_utterance.verdict, by_utterance.resampled) == ("worse", "utterance")
    assert by_speaker.delta == by_utterance.delta


def test_auto_is_compared_with_the_forced_locale() -> None:
    forced = [row("ένα δύο", "ένα δύο", id=str(n)) for n in range(40)]
    auto = [
        dataclasses.replace(r, hyp="ena dio <bg-BG>" if n % 2 else "ένα δύο <el-GR>")
        for n, r in enumerate(forced)
    ]
    found = compare_prompts(forced, auto)
    assert (found.by_locale[0].baseline, found.by_locale[0].candidate) == ("locale", "auto")
    assert (found.by_locale[0].delta, found.by_locale[0].verdict) == (0.5, "worse")
    assert found.tags is not None
    assert found.tags.accuracy == 0.5
    assert json.loads(json.dumps(found.to_json()))["tags"]["confusion"]["el-GR"] == {"el-GR": 20, "bg-BG": 20}
    with pytest.raises(DataError):
        compare_prompts(forced, auto[1:])


def test_silence_stays_out_of_the_comparison() -> None:
    before = [row("...", "ένα δύο", id="a"), row("ένα", "ένα", id="b")]
    after = [row("...", "", id="a"), row("ένα", "ένα", id="b")]
    assert compare(before, after)[0].delta == 0.0


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(DataError):
        compare([row("?", "ένα", id="a")], [row("?", "", id="a")])


def test_pairing_ignores_the_order_of_rows() -> None:
    base, tuned = made_up_hypotheses(80, noise=0.4), made_up_hypotheses(80, noise=0.4)
    assert compare(base, tuned[::-1]) == compare(base, tuned)


@pytest.mark.parametrize(
    "second",
    [
        [row("ένα", "ένα", id="a")],
        [row("ένα", "ένα", id="a"), row("ένα", "ένα", id="c")],
        [row("ένα", "ένα", id="a"), row("δύο", "ένα", id="b")],
        [row("ένα", "ένα", id="a"), row("ένα", "ένα", id="b", locale="bg-BG")],
    ],
)
def test_sets_that_do_not_match_are_an_error(second: list[Hypothesis]) -> None:
    first = [row("ένα", "ένα", id="a"), row("ένα", "ένα", id="b")]
    with pytest.raises(DataError):
        compare(first, second)


def test_metrics_document_has_the_contracted_shape() -> None:
    rows = made_up_hypotheses(30, noise=0.2) + made_up_hypotheses(30, noise=0.2, locale="bg-BG")
    report = score_pairs(rows)
    document = metrics_document(
        {"base": report, "tuned": report},
        paired=compare(rows, rows),
        context=(56, 3),
        mode="offline",
        prompt="locale",
    )
    assert json.loads(json.dumps(document)) == document
    assert document.keys() == {"models", "paired", "normaliser", "context", "mode", "prompt"}
    assert list(document["models"]["base"]["locales"]) == ["bg-BG", "el-GR"]
    locale = document["models"]["tuned"]["locales"]["el-GR"]
    contracted = {"unit", "errors", "tokens", "rate", "ci95", "utterances", "views"}
    assert contracted <= locale.keys()
    assert {"raw", "normalised"} <= locale["views"].keys()
    assert document["models"]["base"]["macro"] == report.macro
