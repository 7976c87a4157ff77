"""The whole way once, on synthetic speech and a tiny model: prepare, train, evaluate, report.

    python jobs/demo.py

Tunes Greek and Bulgarian with a share of English and Spanish on two CPU workers, then compares base and
tuned on unseen sentences. Leaves everything under runs/demo; a second call reuses what is there, and
goes on with a run that was stopped.
"""

from __future__ import annotations

import sys

from _cli import Job, run_job

from asr_ray.settings import DemoSettings


def act(job: Job[DemoSettings]) -> None:
    """Run every stage and show the table of base against tuned."""
    from _ray import start_ray
    from rich.console import Console

    from asr_ray.evaluate.pages.tables import ScoreTable, locale_rows
    from asr_ray.testing import demo
    from asr_ray.train.telling.progress import Progress

    settings, console = job.settings, Console(stderr=job.as_json, highlight=False)
    trained = demo.training_settings(settings)
    console.print("1/4 synthetic speech, by espeak-ng")
    demo.write_speech(settings, trained=trained)
    start_ray(num_cpus=trained.resources.local_cpus)
    with Progress(trained, console=console) as progress:
        result = demo.run_demo(settings, trained=trained, say=console.print, watch=progress.update)
    rows = locale_rows(result.reports, paired=result.paired, policy=result.policy)
    job.show(
        {name: report.to_json() for name, report in result.reports.items()},
        human=lambda screen: screen.print(
            ScoreTable(rows, names=list(result.reports)), f"report: {result.out / 'report.html'}"
        ),
    )


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=DemoSettings, act=act))
