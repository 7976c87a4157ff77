"""Search for the best language mix and learning rate: many short runs, one decision.

    python jobs/sweep.py --config configs/sweeps/demo.yaml --dry-run
    python jobs/sweep.py --config configs/sweeps/demo.yaml
    ray job submit --working-dir . -- python jobs/sweep.py --config configs/sweeps/my_sweep.yaml

A sweep file is the configuration of a run in which any key may hold a range, and the section `sweep`.
Writes OUT/trials.jsonl, trials/, decision.json, decision.md, winner.yaml, report.html and summary.json. The
same command goes on after a kill. Ctrl-C lets each trial commit a checkpoint first (exit code 6).
"""

from __future__ import annotations

import sys

from _cli import Job, run_job

from asr_ray.settings.sweep import SweepFileSettings
from asr_ray.sweep.space import Sweep, load_sweep


def act(job: Job[Sweep]) -> None:
    """Sweep under a progress display and say what was decided."""
    from _ray import start_ray
    from rich.console import Console

    from asr_ray.sweep.progress import SweepProgress
    from asr_ray.sweep.run import run_sweep

    # With the dashboard: without one, Ray never learns that the driver of a trial died, and keeps its places.
    resources = job.settings.settings_of(job.settings.configured, run_dir=job.settings.settings.out).resources
    start_ray(dashboard=True, num_cpus=resources.local_cpus)
    with SweepProgress(console=Console(stderr=job.as_json, highlight=False)) as progress:
        result = run_sweep(job.settings, watch=progress.update)
    job.show(
        result.conclusion.to_json(),
        human=lambda console: console.print(
            f"{result.conclusion.decision.reason}\nreport: {result.out / 'report.html'}\n"
            f"next: {result.conclusion.decision.command}"
        ),
    )


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=SweepFileSettings, act=act, load=load_sweep))
