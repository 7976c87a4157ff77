"""Named languages are read from raw hypotheses; the confusion matrix says what was taken for what."""

from __future__ import annotations

import pytest

from asr_ray.evaluate.scoring.tags import NO_TAG, score_tags

PAIRS = [
    ("el-GR", "Καλημέρα. <el-GR>"),
    ("el-GR", "Καλη <bg-BG> μέρα. <el-GR>"),
    ("el-GR", "Dobro utro. <bg-BG>"),
    ("el-GR", "Καλημέρα."),
    ("es-ES", "Hola. <es-US>"),
    ("es-ES", "Hola. <es-ES>"),
]


def test_accuracy_counts_the_last_tag_and_missing_ones() -> None:
    score = score_tags(PAIRS)
    assert score is not None
    assert score.utterances == 6
    assert score.accuracy == pytest.approx(3 / 6)
    assert score.language_accuracy == pytest.approx(4 / 6)
    assert score.tagged == pytest.approx(5 / 6)
    assert score.accuracy_of("el-GR") == pytest.approx(2 / 4)
    assert score.confusion == {
        "el-GR": {"el-GR": 2, "bg-BG": 1, NO_TAG: 1},
        "es-ES": {"es-US": 1, "es-ES": 1},
    }
    assert sum(sum(named.values()) for named in score.to_json()["confusion"].values()) == 6


def test_three_letter_languages_are_tags_too() -> None:
    score = score_tags([("fil-PH", "Kumusta <fil-PH>"), ("fil-PH", "Kumusta <tl-PH>")])
    assert score is not None
    assert score.accuracy == 0.5
    assert score.language_accuracy == 0.5


def test_stripped_tags_are_not_taken_for_wrong_ones() -> None:
    assert score_tags([("el-GR", "Καλημέρα"), ("bg-BG", "Dobro utro")]) is None
    assert score_tags([]) is None
