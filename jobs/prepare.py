"""Turn corpora into shards: every row is checked, bad rows are put aside, the rest becomes Parquet.

    python jobs/prepare.py --config configs/corpora/my_corpus.yaml
    python jobs/prepare.py --set out=data/el --set 'corpora=[{path: el/*.jsonl, source: mine, locale: el-GR}]'

Writes OUT/shards, OUT/catalog.parquet, OUT/fingerprints.parquet, OUT/quarantine.parquet, OUT/summary.json and
OUT/data_report.html. Exit code 3 means that a locale lost more rows than checks.max_rejected_share allows:
then there are only summary, report and quarantine.parquet, which names each row with its reason; an earlier
result in OUT stays as it is, and they are in OUT/rejected. An unchanged corpus is not read again;
--set reuse=false reads it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import PrepareSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.data.checks.summary import PrepareSummary


def act(job: Job[PrepareSettings]) -> None:
    """Prepare and show the outcome."""
    from _progress import progress_bars
    from _ray import start_ray

    from asr_ray.data.shards import prepare
    from asr_ray.model.base import resolve_base
    from asr_ray.model.tokens import NemoTokenizer

    tokenizer = NemoTokenizer.from_nemo(resolve_base(job.settings.tokenizer))
    start_ray()
    with progress_bars("check", "write") as progress:
        summary = prepare(job.settings, tokenizer=tokenizer, progress=progress)
    job.show(summary.as_json(), human=lambda console: draw(console, summary))


def draw(console: Console, summary: PrepareSummary) -> None:
    """Draw hours and rejected rows per locale, and what to do next."""
    from asr_ray.data.checks.summary_table import summary_lines, summary_table

    console.print(summary_table(summary))
    for line in summary_lines(summary):
        console.print(line)
    if summary.rejected:
        console.print(f"each with its reason: {summary.out / 'quarantine.parquet'}")
    console.print(f"for people: {summary.out / 'data_report.html'}")
    console.print(f"next: python jobs/train.py --config CONFIG --set data.train={summary.out}")


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=PrepareSettings, act=act))
