"""In a log, a long job tells of each tenth once."""

from __future__ import annotations

import pytest
from _progress import progress_bars


def test_a_log_gets_a_line_per_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars("decode") as progress:
        for share in (0.05, 0.1, 0.15, 0.42, 0.42, 1.0):
            progress("decode", share)
    assert capsys.readouterr().err.splitlines() == ["decode: 10%", "decode: 42%", "decode: 100%"]


def test_parts_that_add_up_to_less_than_one_are_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars("decode") as progress:
        progress("decode", sum([0.1] * 10))
    assert capsys.readouterr().err == "decode: 100%\n"
