"""One screen that says how a sweep is doing; a line per event where there is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from asr_ray.metrics import by_locale
from asr_ray.sweep.records import DONE, TrialRecord


class SweepProgress:
    """Context manager; its `update` is what `run_sweep` calls with the trials."""

    def __init__(self, *, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, records: Mapping[str, TrialRecord]) -> None:
        """Show what changed since the last call."""
        if self._live:
            self._live.update(screen(records), refresh=True)
            return
        for name, record in records.items():
            now = line(record)
            if record.status != "planned" and self._told.get(name) != now:
                self._told[name] = now
                self.console.print(now, soft_wrap=True)


def line(record: TrialRecord) -> str:
    """Return one trial as one line."""
    parts = [f"{record.name}: {record.status}"]
    if record.last is not None:
        rates = ", ".join(f"{locale} {rate:.1%}" for locale, rate in record.last.rates.items())
        parts.append(f"step {record.last.step}, objective {record.last.objective:+.3f} ({rates})")
    if record.last is not None and record.last.broken:
        parts.append(f"beyond its limit: {', '.join(record.last.broken)}")
    if record.reason:
        parts.append(record.reason)
    return "; ".join(parts)


def screen(records: Mapping[str, TrialRecord]) -> Table:
    """Return all trials as a table, in the order in which they were planned."""
    done = sum(record.status in DONE for record in records.values())
    table = Table(title=f"{done} of {len(records)} trials so far", box=None, header_style="dim")
    for column in ("trial", "status", "mix", "step", "objective", "guards"):
        table.add_column(column, justify="right" if column in ("step", "objective") else "left")
    for record in records.values():
        last = record.last
        mix = " ".join(f"{locale} {share:.0%}" for locale, share in by_locale(record.mix).items())
        table.add_row(
            record.name,
            record.status,
            mix,
            str(last.step) if last else "",
            f"{last.objective:+.3f}" if last else "",
            (", ".join(last.broken) or "hold") if last else "",
        )
    return table
