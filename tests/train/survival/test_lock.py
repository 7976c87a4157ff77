"""A run folder has one job and one worker group; the dead hold nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.train.survival.lock import only_run, only_workers

HOLD = """
import sys, time
from pathlib import Path
from asr_ray.train.survival.lock import only_run, only_workers
folder = Path(sys.argv[2])
lock = only_run(folder) if sys.argv[1] == "run" else only_workers(folder, rank=1, barrier=lambda: None)
with lock:
    print("held", flush=True)
    time.sleep(600)
"""


def holder(what: str, folder: Path) -> subprocess.Popen[str]:
    """Another process that holds a lock of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, what, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_second_job_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    first = holder("run", tmp_path)
    try:
        with (
            pytest.raises(
                ConfigError, match=rf"another job is training here \(process {first.pid} on"
            ) as told,
            only_run(tmp_path),
        ):
            raise AssertionError
        assert "choose another run_dir" in told.value.fix
        # Whatever state it is in: a stopped process still owns its run.
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(ConfigError), only_run(tmp_path):
            raise AssertionError
    finally:
        kill(first)
    with only_run(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".driver").read_text()
    with only_run(tmp_path):
        pass


def test_workers_wait_for_those_of_an_earlier_start(tmp_path: Path) -> None:
    earlier = holder("workers", tmp_path)
    try:
        with (
            pytest.raises(EnvironmentFault, match="a worker of an earlier start still runs after 0 s"),
            only_workers(tmp_path, rank=0, barrier=lambda: None, timeout_s=0.3),
        ):
            raise AssertionError
    finally:
        kill(earlier)
    with only_workers(tmp_path, rank=0, barrier=lambda: None, timeout_s=0.3):
        # Those of one start share the folder.
        beside = holder("workers", tmp_path)
        kill(beside)


def test_storage_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_run(tmp_path):
        assert "this storage has no locks" in caplog.text


def test_other_errors_of_a_lock_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: object, operation: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="input/output"), only_run(tmp_path):
        raise AssertionError
