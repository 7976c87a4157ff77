"""A metrics file is appended to, read while it is written, and cut back when a run resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.metrics import MetricsFile, Row, by_locale, metrics_path, read


def rows_of(run_dir: Path) -> list[Row]:
    return list(read(metrics_path(run_dir)))


def written(run_dir: Path, steps: list[int]) -> MetricsFile:
    metrics = MetricsFile(run_dir)
    for step in steps:
        metrics.append({"kind": "step", "step": step, "note": "λόγος"})
    return metrics


def test_there_is_nothing_before_the_first_row(tmp_path: Path) -> None:
    assert rows_of(tmp_path) == []


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    written(tmp_path, [1, 2])
    assert rows_of(tmp_path) == [{"kind": "step", "step": step, "note": "λόγος"} for step in (1, 2)]


def test_another_writer_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    written(tmp_path, [1])
    written(tmp_path, [2])
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2]


@given(cut=st.integers(0, 200))
def test_a_row_cut_off_by_a_kill_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    metrics = written(run_dir, [1, 2, 3])
    content = metrics.path.read_bytes()[:cut]
    metrics.path.write_bytes(content)

    # A last row that lacks only its line feed is complete.
    complete = content.count(b"}")
    assert [row["step"] for row in rows_of(run_dir)] == [1, 2, 3][:complete]


@pytest.mark.parametrize(("step", "left"), [(-1, []), (0, [0]), (5, [0, 5]), (99, [0, 5, 9])])
def test_truncate_drops_the_rows_of_lost_steps(tmp_path: Path, step: int, left: list[int]) -> None:
    metrics = written(tmp_path, [0, 5, 9])

    metrics.truncate(step=step)
    metrics.append({"kind": "step", "step": 100})

    assert [row["step"] for row in rows_of(tmp_path)] == [*left, 100]


def test_truncate_mends_a_row_that_was_cut_off(tmp_path: Path) -> None:
    metrics = written(tmp_path, [1])
    with metrics.path.open("a") as stream:
        stream.write('{"kind": "st')

    metrics.truncate(step=1)
    metrics.append({"kind": "step", "step": 2})

    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2]


def test_the_sources_of_a_locale_are_added() -> None:
    heard = {"el-GR/radio": 70.0, "en-US/books": 12.0, "en-US/radio": 8.0}
    assert by_locale(heard) == {"el-GR": 70.0, "en-US": 20.0}
