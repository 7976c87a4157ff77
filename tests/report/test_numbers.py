"""Numbers read the same in every report."""

from __future__ import annotations

from asr_ray.report.numbers import audio_time, counted, listed, percent


def test_audio_is_told_in_the_unit_that_reads_better() -> None:
    assert (audio_time(90), audio_time(7200)) == ("1.5 min", "2.0 h")


def test_shares_are_percentages() -> None:
    assert (percent(0.12345), percent(1.2, digits=0)) == ("12.35%", "120%")


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_nouns_agree_with_their_numbers() -> None:
    assert (counted(1, "row"), counted(0, "row"), counted(1200, "row")) == ("1 row", "0 rows", "1,200 rows")
