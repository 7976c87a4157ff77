"""What a run leaves behind is read whatever became of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr_ray.evaluate.pages.history import RunHistory


def test_no_run_has_no_history(tmp_path: Path) -> None:
    assert RunHistory.read(None) == RunHistory.read(tmp_path) == RunHistory()


def test_seconds_are_added_up_by_locale_and_kept_by_source(tmp_path: Path) -> None:
    summary = {
        "exit_code": 0,
        "steps": 1200,
        "best_step": 1000,
        "elapsed_s": 90.0,
        "planned_s": {"el-GR/radio": 7200.0},
        "consumed_s": {"el-GR/radio": 3600.0, "el-GR/phone": 1800.0, "en-US": 900.0},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    history = RunHistory.read(tmp_path)
    assert history.consumed_s == {"el-GR": 5400.0, "en-US": 900.0}
    assert history.hours_by_source["el-GR/phone"] == pytest.approx(0.5)
    assert history.in_words == "1,200 steps, best at 1,000, 1.8 hours of audio in 1.5 minutes"


def test_a_run_that_failed_has_no_hours(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"exit_code": 5, "error": "x"}', encoding="utf-8")
    assert RunHistory.read(tmp_path) == RunHistory()
