"""The summary of a preparation or a check for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from asr_ray.data.checks.summary import PrepareSummary
from asr_ray.report.numbers import counted


def summary_table(summary: PrepareSummary) -> Table:
    """Return hours and utterances per locale and source as a table."""
    table = Table(
        title=f"{summary.out}{' (unchanged, reused)' if summary.reused else ''}", title_justify="left"
    )
    for column in ("locale", "source", "hours", "utterances"):
        table.add_column(column, justify="left" if column in ("locale", "source") else "right")
    for each in summary.prepared:
        table.add_row(each.locale, each.source, f"{each.hours:,.2f}", f"{each.utterances:,}")
    table.add_section()
    table.add_row("all", "", f"{summary.hours:,.2f}", f"{summary.utterances:,}")
    return table


def summary_lines(summary: PrepareSummary) -> Iterator[str]:
    """Yield what was put aside, by locale and reason, and what is there twice."""
    for name, reasons in summary.rejected.items():
        counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        yield f"put aside of {name}: {counts}"
    overlaps = summary.overlaps
    if overlaps.held_out_audio_rows:
        yield f"kept although held out: {counted(overlaps.held_out_audio_rows, 'row')} with the same audio"
    if overlaps.held_out_text_rows:
        yield f"kept: {counted(overlaps.held_out_text_rows, 'row')} with words of held-out speech"
    if overlaps.same_audio_rows:
        yield f"kept: {counted(overlaps.same_audio_rows, 'row')} with audio of an earlier one"
    if overlaps.repeated_texts:
        rows = counted(overlaps.repeated_rows, "row")
        yield f"kept: {rows} with {counted(overlaps.repeated_texts, 'text')} that many repeat"
