"""Judge speech without preparing it, or judge what is prepared: hours, faults, duplicates, overlaps.

    python jobs/check_data.py --config configs/corpora/my_corpus.yaml
    python jobs/check_data.py --set data=data/train --set 'held_out=[data/validation, data/test]'

Takes the configuration of jobs/prepare.py. Of corpora, OUT/checked/data_report.html tells what preparation
would find, beside summary.json and quarantine.parquet; in a prepared folder, the report is written anew.
Exit code 3 means that too many rows are faulty, or that prepared speech is also in a held-out folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import CheckDataSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.data.checks.findings import Findings


def act(job: Job[CheckDataSettings]) -> None:
    """Judge, show the outcome, and end with its error if there is one."""
    from asr_ray.data.checks.findings import findings_of_folder
    from asr_ray.data.checks.report import write_data_report

    settings = job.settings
    if settings.data is None:
        findings, report = check(settings), settings.out / "checked" / "data_report.html"
    else:
        findings, report = findings_of_folder(settings, settings.data), settings.data / "data_report.html"
        write_data_report(report, findings)
    job.show(findings.summary.as_json(), human=lambda console: draw(console, findings, report))
    if findings.error is not None:
        raise findings.error


def check(settings: CheckDataSettings) -> Findings:
    """Read the corpora on Ray."""
    from _progress import progress_bars
    from _ray import start_ray

    from asr_ray.data.shards import check_corpora
    from asr_ray.model.base import resolve_base
    from asr_ray.model.tokens import NemoTokenizer

    tokenizer = NemoTokenizer.from_nemo(resolve_base(settings.tokenizer))
    start_ray()
    with progress_bars("check", "write") as progress:
        return check_corpora(settings, tokenizer=tokenizer, progress=progress)


def draw(console: Console, findings: Findings, report: Path) -> None:
    """Draw the table of locales and what stands out."""
    from asr_ray.data.checks.advice import advice_of
    from asr_ray.data.checks.summary_table import summary_lines, summary_table

    console.print(summary_table(findings.summary))
    for line in summary_lines(findings.summary):
        console.print(line)
    for each in advice_of(findings):
        console.print(f"{'!' if each.is_severe else '-'} {each.what} {each.remedy}", markup=False)
    console.print(f"for people: {report}")


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=CheckDataSettings, act=act))
