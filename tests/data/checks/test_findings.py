"""Findings count every row once; a quarantine comes back as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_ray.data.checks.findings import read_quarantine, write_quarantine
from asr_ray.errors import DataError
from asr_ray.records import Reason
from asr_ray.testing.findings import findings_with, rejected_row


def test_hours_are_summed_by_locale_and_source_in_their_order() -> None:
    findings = findings_with({("el-GR", "radio"): 900, ("bg-BG", "tv"): 450, ("el-GR", "books"): 90})

    assert [
        (each.locale, each.source, each.utterances, each.hours) for each in findings.summary.prepared
    ] == [
        ("bg-BG", "tv", 450, pytest.approx(0.5)),
        ("el-GR", "books", 90, pytest.approx(0.1)),
        ("el-GR", "radio", 900, pytest.approx(1.0)),
    ]


def test_reasons_come_with_their_first_rows_the_most_frequent_first() -> None:
    rows = [rejected_row(Reason.SILENCE, line=1), *(rejected_row(line=line) for line in range(2, 7))]

    truncated, silence = findings_with({("el-GR", "radio"): 100}, rejected=rows).reasons

    assert (truncated.reason, truncated.rows, silence.rows) == (Reason.TRUNCATED, 5, 1)
    assert [row.origin for row in truncated.examples] == ["m.jsonl:2", "m.jsonl:3", "m.jsonl:4"]


def test_the_error_names_the_quarantine_and_sets_the_exit_code() -> None:
    findings = findings_with({("el-GR", "radio"): 50}, rejected=[rejected_row()])

    assert findings.error is not None
    assert "data/quarantine.parquet" in findings.error.message
    assert findings.summary.exit_code == 3
    assert findings_with({("el-GR", "radio"): 100}, rejected=[rejected_row()]).summary.exit_code == 0


def test_held_out_speech_that_is_left_out_is_no_fault() -> None:
    rows = [rejected_row(Reason.IN_HELD_OUT_AUDIO)] * 30 + [rejected_row(Reason.IN_HELD_OUT_TEXT)] * 30

    findings = findings_with({("el-GR", "radio"): 100}, rejected=rows)

    assert findings.error is None
    (tally,) = findings.tallies
    assert (tally.faulty_share, tally.rejected_share) == (0.0, 60 / 160)


def test_texts_are_looked_up_for_those_repeated_most() -> None:
    findings = findings_with({("el-GR", "radio"): 100}, texts=20, max_text_repeats=4)

    overlaps = findings.summary.overlaps
    assert (overlaps.repeated_texts, overlaps.repeated_rows) == (20, 100)
    assert [(each.text, each.rows) for each in overlaps.most_repeated[:2]] == [
        ("sentence 0", 5),
        ("sentence 1", 5),
    ]


def test_a_quarantine_comes_back(tmp_path: Path) -> None:
    rows = [rejected_row(Reason.MOJIBAKE, detail="it was 'ναι'"), rejected_row(Reason.BAD_JSON, locale="")]
    write_quarantine(tmp_path / "q.parquet", rows)

    assert read_quarantine(tmp_path / "q.parquet") == rows
    assert read_quarantine(tmp_path / "absent.parquet") == []


def test_a_damaged_quarantine_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "q.parquet").write_bytes(b"no parquet")

    with pytest.raises(DataError, match="cannot be read"):
        read_quarantine(tmp_path / "q.parquet")
