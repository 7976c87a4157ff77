"""The leaderboard's scoring, step by step as its own code does it, and where it differs from ours."""

from __future__ import annotations

import pytest

from asr_ray.evaluate.scoring.counts import Counts, Hypothesis, count_as_leaderboard
from asr_ray.evaluate.scoring.leaderboard import leaderboard_words, on_leaderboard
from asr_ray.evaluate.scoring.normalise import normalise
from asr_ray.locales import LOCALES


def words(text: str, locale: str) -> str:
    return " ".join(leaderboard_words(text, "", locale=locale)[0])


def errors(ref: str, hyp: str, locale: str) -> Counts:
    return count_as_leaderboard(Hypothesis(id="a", locale=locale, ref=ref, hyp=hyp, duration_s=1.0))


def test_it_knows_its_seven_languages_and_no_other() -> None:
    assert {tag for tag in LOCALES if on_leaderboard(tag)} == {
        *("en-US", "en-GB", "de-DE", "fr-FR", "fr-CA", "it-IT", "es-ES", "es-US", "pt-BR", "pt-PT", "nl-NL")
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Neil won't pay $20 million.", "mister neil will not pay $20000000"),
        ("Um, the U.S.A. and the U.K. at 9 a.m.", "the usa and the uk at 9 am"),
        ("Well...I don't know...", "well i do not know"),
        ("The colour of A.B.C.s (laughs) [noise]", "the color of abcs"),
        ("twenty-first century", "21st century"),
    ],
)
def test_english(text: str, expected: str) -> None:
    assert words(text, "en-US") == expected


@pytest.mark.parametrize(
    ("locale", "text", "expected"),
    [
        (
            "de-DE",
            "Über 10 000 (ca.) Straßen, 1976!",
            "über zehntausend straßen eintausendneunhundertsechsundsiebzig",
        ),
        ("fr-FR", "L\u2019\u0153uvre de 1976.", "l œuvre de mille neuf cent soixante-seize"),
        ("es-ES", "¿El niño tiene 21 <en-US>?", "el niño tiene veintiuno"),
        ("nl-NL", "De kinderen\u2026 [lacht] zijn 5!", "de kinderen zijn vijf"),
        ("pt-BR", "Ação às 10h.", "ação às dezh"),
        ("it-IT", "Perché no?", "perché no"),
    ],
)
def test_other_languages(locale: str, text: str, expected: str) -> None:
    assert words(text, locale) == expected


def test_compounds_cost_nothing_there_and_something_here() -> None:
    assert errors("the white paper", "the whitepaper", "en-US").errors == 0
    assert errors("die Donau Schifffahrt heute", "die Donauschifffahrt heute", "de-DE").errors == 0
    assert errors("die Donau heute", "die Rhein heute", "de-DE").errors == 1
    # A joined stretch is one reference word, which lowers their denominator.
    assert errors("die Donau Schifffahrt", "die Donauschifffahrt", "de-DE").tokens == 2
    assert normalise("white paper", locale="en-US") != normalise("whitepaper", locale="en-US")


def test_empty_references_are_left_out() -> None:
    for ref in ("", "(laughs)", "ignore time segment in scoring", "?!"):
        counts = errors(ref, "", "en-US")
        assert (counts.utterances, counts.tokens, counts.silent_utterances) == (0, 0, 1)


def test_words_in_parentheses_are_deleted_there_and_kept_here() -> None:
    assert errors("we met by chance", "we met (by chance)", "en-US").deletions == 2
    assert normalise("we met (by chance)", locale="en-US") == "we met by chance"
