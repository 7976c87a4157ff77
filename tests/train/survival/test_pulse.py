"""Who hangs is told from marks and beats, and only a process that is still the same one is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.train.survival.pulse import (
    EXCHANGING,
    WAITING,
    Beat,
    Hang,
    HangWatch,
    Pulse,
    clear_pulses,
    end_process,
    pulse_folder,
    read_pulses,
)

TIMEOUT_S = 100.0


def beat(rank: int, *, doing: str = "computing", marks: int = 1, beats: int = 1, pid: int = 7) -> Beat:
    return Beat(
        rank=rank, host="a", node="n", pid=pid, born=0.0, step=5, doing=doing, marks=marks, beats=beats
    )


def watched(*, doings: Mapping[int, str], beating: set[int], until_s: float) -> Hang | None:
    """Look once a second at ranks that mark nothing; those in `beating` go on beating."""
    watch = HangWatch(timeout_s=TIMEOUT_S)
    found = None
    for second in range(int(until_s) + 1):
        signs = {
            rank: beat(rank, doing=doing, beats=second if rank in beating else 1)
            for rank, doing in doings.items()
        }
        found = found or watch.look(signs, now_s=float(second))
    return found


def culprits(hang: Hang | None) -> list[int]:
    assert hang is not None
    return [beat.rank for beat in hang.ranks]


def test_the_rank_that_does_not_wait_for_the_others_hangs() -> None:
    doings = {0: WAITING, 1: "computing", 2: EXCHANGING}
    assert watched(doings=doings, beating={0, 1, 2}, until_s=TIMEOUT_S - 1) is None
    hang = watched(doings=doings, beating={0, 1, 2}, until_s=TIMEOUT_S)
    assert culprits(hang) == [1]
    assert str(hang) == "rank 1 (process 7 on a) hung at step 5, computing: nothing moved for 100 s"


def test_a_frozen_process_is_to_blame_wherever_it_was() -> None:
    doings = {0: "waiting for data", 1: WAITING}
    hang = watched(doings=doings, beating={0}, until_s=TIMEOUT_S)
    assert culprits(hang) == [1]
    assert "its process did not run" in str(hang)


def test_when_all_wait_for_each_other_all_are_named() -> None:
    assert culprits(watched(doings={0: WAITING, 1: EXCHANGING}, beating={0, 1}, until_s=TIMEOUT_S)) == [0, 1]


def test_a_rank_alone_can_hang_too() -> None:
    hang = watched(doings={0: "waiting for data"}, beating={0}, until_s=TIMEOUT_S)
    assert culprits(hang) == [0]


@given(
    every_s=st.floats(1.0, TIMEOUT_S - 1.0),
    ranks=st.integers(1, 4),
    mover=st.integers(0, 3),
)
def test_nothing_hangs_while_any_rank_moves(every_s: float, ranks: int, mover: int) -> None:
    watch = HangWatch(timeout_s=TIMEOUT_S)
    for turn in range(20):
        signs = {rank: beat(rank, marks=turn if rank == mover % ranks else 0) for rank in range(ranks)}
        assert watch.look(signs, now_s=turn * every_s) is None


def test_no_ranks_and_new_processes_are_no_hang() -> None:
    watch = HangWatch(timeout_s=TIMEOUT_S)
    assert watch.look({}, now_s=0.0) is None
    assert watch.look({0: beat(0)}, now_s=500.0) is None
    assert watch.look({0: beat(0, pid=8)}, now_s=599.0) is None
    assert watch.look({0: beat(0, pid=8)}, now_s=699.0) is not None
    assert watch.look({0: beat(0, pid=8)}, now_s=700.0) is None, "an answer is given once"


def test_a_pulse_is_written_while_it_lasts(tmp_path: Path) -> None:
    with Pulse(tmp_path, rank=3, node="n", timeout_s=0.2) as pulse:
        pulse.mark("computing", 4)
        pulse.mark("validating")
        while (first := read_pulses(tmp_path).get(3)) is None or first.doing != "validating":
            time.sleep(0.01)
        while read_pulses(tmp_path)[3].beats == first.beats:
            time.sleep(0.01)
    assert (first.step, first.marks, first.pid) == (4, 2, psutil.Process().pid)
    assert read_pulses(tmp_path) == {}
    (pulse_folder(tmp_path) / "rank-000.json").write_text('{"rank": 0')
    assert read_pulses(tmp_path) == {}
    clear_pulses(tmp_path)
    assert not pulse_folder(tmp_path).exists()


def test_only_the_process_that_gave_the_sign_is_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    born = psutil.Process(process.pid).create_time()
    sign = replace(beat(0, pid=process.pid), born=born)
    process.send_signal(signal.SIGSTOP)
    assert not end_process(replace(sign, born=born - 60))
    assert process.poll() is None
    assert end_process(sign)
    assert process.wait() == -signal.SIGKILL
    assert not end_process(sign)


def test_a_full_disk_does_not_end_a_pulse(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pulse").write_text("a file where the folder should be")
    with Pulse(tmp_path, rank=0, node="n", timeout_s=0.1):
        while "cannot be written" not in caplog.text:
            time.sleep(0.01)
