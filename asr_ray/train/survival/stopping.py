"""A run is stopped by a file in its folder: any process that sees the folder can ask for it."""

from __future__ import annotations

from pathlib import Path

from asr_ray.files import write_whole

_BY_WORKER = "SIGTERM to worker"


def stop_file(run_dir: Path) -> Path:
    """A file whose presence asks the run to commit and end."""
    return run_dir / "stop-requested"


def request_stop(run_dir: Path, *, by: str) -> None:
    """Ask the workers of a run to commit a checkpoint and end.

    Args:
        by: who asks; shown to the user.
    """
    write_whole(stop_file(run_dir), by)


def request_stop_of_worker(run_dir: Path, *, where: str) -> None:
    """The same, by a worker that got a SIGTERM."""
    request_stop(run_dir, by=f"{_BY_WORKER} {where}")


def forget_earlier_workers(run_dir: Path) -> None:
    """Drop the request of a worker of an earlier start, none of which lives any longer.

    Ray sends SIGTERMs too, when it takes a group down to start it again.
    """
    if (requested_by(run_dir) or "").startswith(_BY_WORKER):
        stop_file(run_dir).unlink(missing_ok=True)


def requested_by(run_dir: Path) -> str | None:
    """Return who asked a run to stop; None when nobody did."""
    try:
        return stop_file(run_dir).read_text(encoding="utf-8").strip() or "a file stop-requested"
    except FileNotFoundError:
        return None
