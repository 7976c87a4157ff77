"""`RUN/metrics.jsonl`: what happened, one JSON object per line, for people, trackers and the progress."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""`{"kind": "step" | "validation" | ..., "step": int, ...}`"""


class MetricsFile:
    """Appends rows; written by rank 0 only."""

    def __init__(self, run_dir: Path) -> None:
        self.path = metrics_path(run_dir)

    def append(self, row: Row) -> None:
        """Add one row; visible to readers at once."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def truncate(self, *, step: int) -> None:
        """Drop rows of steps that are not in the checkpoint a run resumes from."""
        kept = [row for row in read(self.path) if row["step"] <= step]
        temporary = self.path.with_suffix(".writing")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        temporary.replace(self.path)


def metrics_path(run_dir: Path) -> Path:
    """Where the metrics of a run are."""
    return run_dir / "metrics.jsonl"


def read(path: Path) -> Iterator[Row]:
    """Yield the complete rows of a metrics file; a row cut off by a kill is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def by_locale(amounts: Mapping[str, float]) -> dict[str, float]:
    """Add up the sources of each locale, in the order of their first mention.

    Args:
        amounts: seconds or shares, by "locale/source" as metrics, summaries and ledgers name them.
    """
    totals: dict[str, float] = {}
    for name, amount in amounts.items():
        locale = name.partition("/")[0]
        totals[locale] = totals.get(locale, 0.0) + amount
    return totals
