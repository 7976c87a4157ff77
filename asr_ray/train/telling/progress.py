"""One screen that says how a run is doing; plain lines where there is no terminal.

Reads `RUN/metrics.jsonl` and nothing else, so it can watch a run of any process on shared storage.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asr_ray.metrics import Row, by_locale, metrics_path, read
from asr_ray.settings import TrainSettings
from asr_ray.train.judging.replay import never_heard, replay_locales

_PLAIN_EVERY_S = 15.0


class Progress:
    """Context manager; its `update` is what `run_training` calls with the run folder."""

    def __init__(self, settings: TrainSettings, *, console: Console) -> None:
        self.settings = settings
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._printed_at = time.monotonic()
        self._validations = self._rows = 0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, run_dir: Path) -> None:
        """Show what the metrics file says now."""
        rows = list(read(metrics_path(run_dir)))
        if self._live:
            self._live.update(screen(rows, settings=self.settings), refresh=True)
            return
        validations = sum(row["kind"] in ("validation", "stopped") for row in rows)
        due = time.monotonic() - self._printed_at >= _PLAIN_EVERY_S
        if validations != self._validations or (due and len(rows) > self._rows):
            self._validations, self._rows, self._printed_at = validations, len(rows), time.monotonic()
            self.console.print(line(rows, settings=self.settings), soft_wrap=True)


def line(rows: Sequence[Row], *, settings: TrainSettings) -> str:
    """Return the newest step, or the newest validation or end where nothing came after it, as one line."""
    newest = [row for row in rows if row["kind"] in ("step", "validation", "stopped")][-1]
    if newest["kind"] == "stopped":
        return f"ended at step {newest['step']}: {newest['reason']}"
    if newest["kind"] == "validation":
        rates = ", ".join(f"{tag} {score['rate']:.1%}" for tag, score in newest["locales"].items())
        return f"step {newest['step']}: error rate {rates}{_replay_in_words(newest, settings=settings)}"
    return (
        f"step {newest['step']}/{settings.max_steps}  loss {_loss(newest)}  lr {newest['lr']:.2e}  "
        f"{newest['audio_s_per_s']:.0f} s of audio/s  waiting for data {newest['data_wait_share']:.0%}  "
        f"ETA {_eta(newest, settings=settings)}"
    )


def screen(rows: Sequence[Row], *, settings: TrainSettings) -> RenderableType:
    """Return the whole screen: bar, numbers of the newest step, error rates over time."""
    steps = [row for row in rows if row["kind"] == "step"]
    validations = [row for row in rows if row["kind"] == "validation"]
    done = steps[-1]["step"] if steps else 0
    # A bar alone does not end its line, and would hide the numbers behind it.
    parts: list[RenderableType] = [Padding(ProgressBar(total=settings.max_steps, completed=done), 0)]
    parts.append(
        _numbers(steps[-1], settings=settings) if steps else Text("starting the workers", style="dim")
    )
    if validations:
        parts.append(_rates(validations, settings=settings))
        parts += [Text(each, style="bold red") for each in _warnings(rows, settings=settings)]
    return Panel(Group(*parts), title=f"{settings.run_dir}", title_align="left")


def _numbers(row: Row, *, settings: TrainSettings) -> Table:
    grid = Table.grid(padding=(0, 3))
    cells = {
        "step": f"{row['step']:,} / {settings.max_steps:,}",
        "loss": _loss(row),
        "learning rate": f"{row['lr']:.2e}",
        "audio": f"{row['audio_s_per_s']:.0f} s/s",
        "data wait": f"{row['data_wait_share']:.0%}",
        "ETA": _eta(row, settings=settings),
    }
    grid.add_row(*(Text.assemble((f"{name} ", "dim"), (value, "bold")) for name, value in cells.items()))
    return grid


def _rates(validations: Sequence[Row], *, settings: TrainSettings) -> Table:
    """Error rate per locale: base, the last few validations, best marked; and what was heard of it so far."""
    shown = [validations[0], *validations[1:][-5:]]
    heard = by_locale(shown[-1].get("consumed_s", {}))
    replayed = replay_locales(settings.data.mix)
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("error rate")
    for row in shown:
        best = row["step"] == validations[-1].get("best_step")
        table.add_column(
            f"step {row['step']}{' *' if best else ''}" if row["step"] else "base", justify="right"
        )
    if heard:
        table.add_column("heard", justify="right")
    for tag in shown[0]["locales"]:
        role = "" if tag in settings.validation.targets else " (guard)"
        cells = [_rate(tag, row, base=shown[0], settings=settings) for row in shown]
        if heard:
            kind = " replay" if tag in replayed else ""
            cells.append(Text(f"{heard.get(tag, 0.0) / 3600:,.2f} h{kind}"))
        table.add_row(tag + role, *cells)
    return table


def _rate(tag: str, row: Row, *, base: Row, settings: TrainSettings) -> Text:
    """The rate of a locale, red where a guard is beyond its limit."""
    rate, limit = row["locales"][tag]["rate"], settings.validation.max_guard_loss
    lost = tag in settings.validation.guards and rate - base["locales"][tag]["rate"] > limit
    return Text(f"{rate:.1%}", style="red" if lost else "")


def _warnings(rows: Sequence[Row], *, settings: TrainSettings) -> list[str]:
    """What may not be missed: a run ended by its guards, replay that was asked for and never heard."""
    newest = [row for row in rows if row["kind"] == "validation"][-1]
    # Not of an end that a more patient configuration has taken back.
    ended = [row for row in rows if row["kind"] == "stopped" and row["step"] >= rows[-1]["step"]]
    warnings = [f"ended: {row['reason']}" for row in ended[-1:]]
    if newest["step"] and "consumed_s" in newest:
        missing = never_heard(settings.data.mix, consumed_s=newest["consumed_s"])
        warnings += [f"replay: nothing of {', '.join(missing)} was heard"] if missing else []
    return warnings


def _replay_in_words(row: Row, *, settings: TrainSettings) -> str:
    """Share of what was heard so far that was replay; "" where nothing is, or nothing was heard yet."""
    heard = by_locale(row.get("consumed_s", {}))
    total_s, replayed = sum(heard.values()), replay_locales(settings.data.mix)
    if not replayed or not total_s:
        return ""
    shares = ", ".join(f"{tag} {heard.get(tag, 0.0) / total_s:.1%}" for tag in replayed)
    return f"; replay {shares} of {total_s / 3600:.2f} h"


def _loss(row: Row) -> str:
    """The loss, or a dash when every step of the row was skipped."""
    return "-" if row["loss"] is None else f"{row['loss']:.3f}"


def _eta(row: Row, *, settings: TrainSettings) -> str:
    """Time left at the run's mean speed so far, validations and checkpoints included."""
    left_s = row["elapsed_s"] / max(1, row["step"]) * (settings.max_steps - row["step"])
    return str(timedelta(seconds=round(left_s)))


def newest_rates(rows: Sequence[Row]) -> Mapping[str, float]:
    """Return locale -> error rate of the newest validation; empty before the first."""
    validations = [row for row in rows if row["kind"] == "validation"]
    return {tag: score["rate"] for tag, score in validations[-1]["locales"].items()} if validations else {}
