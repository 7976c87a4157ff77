"""A run is stopped by a file in its folder: any process that sees the folder can ask for it."""

from __future__ import annotations

from pathlib import Path

from asr_ray.files import write_whole


def stop_file(run_dir: Path) -> Path:
    """A file whose presence asks the run to commit and end."""
    return run_dir / "stop-requested"


def request_stop(run_dir: Path, *, by: str) -> None:
    """Ask the workers of a run to commit a checkpoint and end.

    Args:
        by: who asks; shown to the user.
    """
    write_whole(stop_file(run_dir), by)


def requested_by(run_dir: Path) -> str | None:
    """Return who asked a run to stop; None when nobody did."""
    try:
        return stop_file(run_dir).read_text(encoding="utf-8").strip() or "a file stop-requested"
    except FileNotFoundError:
        return None
