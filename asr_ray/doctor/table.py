"""The verdicts as a table in plain text, with what to do below it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from asr_ray.doctor.facts import Check

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def draw_checks(console: Console, checks: Sequence[Check]) -> None:
    """Draw the table, then one line for each thing to mend."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "check", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        style = _STYLES[check.outcome]
        table.add_row(f"[{style}]{check.outcome}[/]", check.name, check.found.replace("[", r"\["))
    console.print(table)
    for check in checks:
        if check.outcome != "ok":
            line = f"{check.outcome}: {check.name}\n  fix: {check.fix}"
            console.print(line, markup=False, soft_wrap=True)
