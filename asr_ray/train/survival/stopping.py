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
    """Ask the same for a worker that got a SIGTERM; whoever asked before has the word."""
    if not stop_file(run_dir).exists():
        request_stop(run_dir, by=f"{_BY_WORKER} {where}")


def is_of_worker(reason: str | None) -> bool:
    """Whether a request says that one process has to go, and not that the run shall end.

    A worker gets a SIGTERM when its node is shut down or taken away, and from Ray when it takes a group down
    to start it again. Whoever wants the run to end tells the driver.
    """
    return (reason or "").startswith(_BY_WORKER)


def forget_earlier_workers(run_dir: Path) -> None:
    """Drop the request of a worker of an earlier start, none of which lives any longer."""
    if is_of_worker(requested_by(run_dir)):
        stop_file(run_dir).unlink(missing_ok=True)


def requested_by(run_dir: Path) -> str | None:
    """Return who asked a run to stop; None when nobody did."""
    try:
        return stop_file(run_dir).read_text(encoding="utf-8").strip() or "a file stop-requested"
    except FileNotFoundError:
        return None
