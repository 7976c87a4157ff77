"""Search for the best language mix and learning rate: many short runs, one decision.

    python jobs/sweep.py --config configs/sweeps/demo.yaml --dry-run
    python jobs/sweep.py --config configs/sweeps/demo.yaml
    ray job submit --working-dir . -- python jobs/sweep.py --config configs/sweeps/my_sweep.yaml

A sweep file is the configuration of a run in which any key may hold a range, and the section `sweep`.
`--dry-run` lists the trials and what they cost. Writes OUT/trials.jsonl, trials/, decision.json, decision.md,
winner.yaml, report.html and summary.json. The same command goes on after a kill. Ctrl-C lets each trial
commit a checkpoint first (exit code 6).
"""

from __future__ import annotations

import json
import sys

from _cli import Job, run_job

from asr_ray.settings.sweep import SweepFileSettings
from asr_ray.sweep.space import Sweep, load_sweep


def rehearse(job: Job[Sweep]) -> None:
    """List the trials and what they cost."""
    from asr_ray.sweep.estimate import known_data, predicted_step_s
    from asr_ray.sweep.forecast import forecast, lines

    sweep = known_data(job.settings)
    found = forecast(sweep, step_s=predicted_step_s(sweep))
    keys = [each.key for each in sweep.space]
    shown = [json.dumps(found.to_json(), ensure_ascii=False)] if job.as_json else lines(found, keys=keys)
    sys.stdout.writelines(f"{line}\n" for line in shown)


def act(job: Job[Sweep]) -> None:
    """Sweep under a progress display and say what was decided."""
    from _ray import start_ray
    from rich.console import Console

    from asr_ray.sweep.progress import SweepProgress
    from asr_ray.sweep.run import run_sweep

    sweep = job.settings
    configured = sweep.settings_of(sweep.configured, run_dir=sweep.settings.out)
    # With the dashboard: without one, Ray never learns that the driver of a trial died, and keeps its places.
    start_ray(dashboard=True, num_cpus=configured.resources.local_cpus)
    with SweepProgress(console=Console(stderr=job.as_json, highlight=False)) as progress:
        result = run_sweep(sweep, watch=progress.update)
    decision = result.conclusion.decision
    job.show(
        result.conclusion.to_json(),
        human=lambda console: console.print(
            f"{decision.reason}\nreport: {result.out / 'report.html'}\nnext: {decision.command}"
        ),
    )


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=SweepFileSettings, act=act, load=load_sweep, rehearse=rehearse))
