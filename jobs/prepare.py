"""Turn corpora into shards: every row is checked, bad rows are put aside, the rest becomes Parquet.

    python jobs/prepare.py --config configs/corpora/my_corpus.yaml
    python jobs/prepare.py --set out=data/el --set 'corpora=[{path: el/*.jsonl, source: mine, locale: el-GR}]'

Writes OUT/shards, OUT/catalog.parquet, OUT/quarantine.parquet and OUT/summary.json. Exit code 3 means that a
locale lost more rows than checks.max_rejected_share allows; quarantine.parquet names each with its reason.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import PrepareSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.data.summary import PrepareSummary


def act(job: Job[PrepareSettings]) -> None:
    """Prepare and show the outcome."""
    from _ray import start_ray

    from asr_ray.data.shards import prepare
    from asr_ray.model.tiny import base_model_path
    from asr_ray.model.tokens import NemoTokenizer

    name = job.settings.tokenizer
    tokenizer = NemoTokenizer.from_nemo(base_model_path() if name == "tiny" else Path(name))
    start_ray()
    with progress_bars() as progress:
        summary = prepare(job.settings, tokenizer=tokenizer, progress=progress)
    job.show(summary.as_json(), human=lambda console: draw(console, summary))


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float], None]]:
    """Yield what `prepare` reports to: bars on a terminal, nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {stage: bars.add_task(stage, total=1.0) for stage in ("check", "write")}
        yield lambda stage, share: bars.update(tasks[stage], completed=share)


def draw(console: Console, summary: PrepareSummary) -> None:
    """Draw hours and rejected rows per locale, and what to do next."""
    from rich.table import Table

    table = Table(title=f"{summary.out}{' (unchanged, reused)' if summary.reused else ''}")
    table.add_column("locale")
    table.add_column("source")
    table.add_column("hours", justify="right")
    table.add_column("utterances", justify="right")
    for each in summary.prepared:
        table.add_row(each.locale, each.source, f"{each.hours:,.2f}", f"{each.utterances:,}")
    table.add_section()
    table.add_row("all", "", f"{summary.hours:,.2f}", f"{summary.utterances:,}")
    console.print(table)
    for name, reasons in summary.rejected.items():
        counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        console.print(f"put aside of {name}: {counts}")
    if summary.rejected:
        console.print(f"each with its reason: {summary.out / 'quarantine.parquet'}")
    console.print(f"next: python jobs/train.py --config CONFIG --set data.train={summary.out}")


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=PrepareSettings, act=act))
