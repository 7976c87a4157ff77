"""The records survive what a kill leaves behind."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.sweep.records import Rung, TrialRecord, append_record, read_records, trials_path

RUNG = Rung(step=10, audio_s=60.0, rates={"el-GR": 0.25}, objective=-0.5, excess=0.01, broken=("en-US",))
RECORD = TrialRecord(
    name="search-000",
    stage="search",
    values={"data.mix.ratios": {"a": 0.4, "b": 0.6}, "optim.peak_lr": 1e-4, "model.freeze": "none"},
    mix={"el-GR/radio": 0.4, "bg-BG/radio": 0.6},
    seed=1,
    rungs=(RUNG,),
    consumed_s={"el-GR/radio": 60.0},
    reason="Καλημέρα\u2028",
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = trials_path(tmp_path)
    append_record(path, RECORD)
    assert read_records(path) == {RECORD.name: RECORD}
    assert RECORD.last == RUNG


def test_nothing_is_known_before_the_first_line(tmp_path: Path) -> None:
    assert read_records(trials_path(tmp_path)) == {}


@settings(deadline=None, max_examples=40)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["planned", "running", "failed"])), min_size=1
    ),
    cut=st.integers(1, 400),
)
def test_the_last_whole_line_of_a_name_wins(changes: list[tuple[str, str]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = trials_path(Path(folder))
        states: list[dict[str, TrialRecord]] = [{}]
        for index, (name, status) in enumerate(changes):
            record = replace(RECORD, name=name, status=status, seed=index)  # type: ignore[arg-type]
            append_record(path, record)
            states.append({**states[-1], name: record})
        assert read_records(path) == states[-1]
        # A kill in the middle of the last line: the trial stands where it stood before.
        whole = path.read_bytes()
        last = len(whole.rstrip(b"\n").rsplit(b"\n", 1)[-1])
        path.write_bytes(whole[: -min(cut, last) - 1])
        assert read_records(path) == states[-2]
        # And what is written after it is not swallowed by the rest of that line.
        append_record(path, RECORD)
        assert read_records(path)[RECORD.name] == RECORD


def test_a_line_without_its_end_is_closed_before_the_next(tmp_path: Path) -> None:
    path = trials_path(tmp_path)
    append_record(path, RECORD)
    path.write_bytes(path.read_bytes()[:-1])
    append_record(path, replace(RECORD, status="running"))
    assert read_records(path)[RECORD.name].status == "running"
    assert len(path.read_bytes().splitlines()) >= 2


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    path = trials_path(tmp_path)
    path.write_text(json.dumps({**RECORD.to_json(), "colour": "red"}) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="another version"):
        read_records(path)
