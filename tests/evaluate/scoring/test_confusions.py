"""What is taken for what: edits add up to the errors that are scored, and the frequent ones come first."""

from __future__ import annotations

from asr_ray.evaluate.scoring.confusions import confusions_of
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses


def row(number: int, ref: str, hyp: str, locale: str = "el-GR") -> Hypothesis:
    return Hypothesis(id=f"{locale}{number}", locale=locale, ref=ref, hyp=hyp, duration_s=1.0)


def test_edits_add_up_to_the_errors_of_the_score() -> None:
    rows = made_up_hypotheses(200, noise=0.3) + made_up_hypotheses(50, noise=0.3, locale="ja-JP")
    report = score_pairs(rows)
    for locale, confusions in confusions_of(rows).items():
        assert sum(confusions.counts.values()) == report.locales[locale].errors


def test_the_frequent_ones_come_first_as_they_are_compared() -> None:
    rows = [
        row(0, "Ένα, δύο!", "ένα τρία"),
        row(1, "δύο", "Τρία."),
        row(2, "ένα", "δέκα"),
        row(3, "ένα δύο", "ένα"),
        row(4, "ένα", "ένα δύο"),
        row(5, "", "φάντασμα"),
    ]
    found = confusions_of(rows)["el-GR"]
    assert found.substitutions == [(("δύο", "τρία"), 2), (("ένα", "δέκα"), 1)]
    assert found.deletions == [(("δύο", ""), 1)]
    assert found.insertions == [(("", "δύο"), 1)]
    assert found.to_json()["substitutions"][0] == ["δύο", "τρία", 2]


def test_characters_where_there_are_no_blanks() -> None:
    assert confusions_of([row(0, "今日は", "明日は", "ja-JP")])["ja-JP"].substitutions == [(("今", "明"), 1)]
