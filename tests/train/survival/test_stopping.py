"""Anybody who sees the folder of a run can ask it to stop, and is named."""

from __future__ import annotations

from pathlib import Path

from asr_ray.train.survival.stopping import (
    forget_earlier_workers,
    request_stop,
    request_stop_of_worker,
    requested_by,
    stop_file,
)


def test_who_asked_is_known(tmp_path: Path) -> None:
    assert requested_by(tmp_path) is None
    request_stop(tmp_path, by="SIGTERM to process 7 on node-3")
    assert requested_by(tmp_path) == "SIGTERM to process 7 on node-3"
    stop_file(tmp_path).unlink()
    stop_file(tmp_path).touch()
    assert requested_by(tmp_path) == "a file stop-requested"


def test_only_what_workers_asked_for_is_forgotten_with_them(tmp_path: Path) -> None:
    request_stop_of_worker(tmp_path, where="process 7 on node-3")
    assert requested_by(tmp_path) == "SIGTERM to worker process 7 on node-3"
    forget_earlier_workers(tmp_path)
    assert requested_by(tmp_path) is None
    request_stop(tmp_path, by="SIGTERM")
    request_stop_of_worker(tmp_path, where="process 8 on node-3")
    forget_earlier_workers(tmp_path)
    assert requested_by(tmp_path) == "SIGTERM"
