"""Fine-tune a model on prepared shards, or go on with a run that was stopped.

    python jobs/train.py --config configs/runs/demo.yaml
    python jobs/train.py --config configs/runs/my_run.yaml --set optim.peak_lr=3e-4 --set run_dir=runs/lr3e-4
    python jobs/train.py --from-decision runs/sweep/decision.json --set run_dir=runs/long
    ray job submit --working-dir . -- python jobs/train.py --config configs/runs/my_run.yaml

Writes RUN/config.yaml, metrics.jsonl, ledger/, checkpoints/, best.nemo and summary.json. The same command
resumes: the run's folder is its identity. Ctrl-C commits a checkpoint first (exit code 6).
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import TrainSettings
from asr_ray.sweep.records import winner_path

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.train.run import RunSummary


def act(job: Job[TrainSettings]) -> None:
    """Train under a progress display and say what to do next."""
    from _ray import start_ray
    from rich.console import Console

    from asr_ray.train.run import run_training
    from asr_ray.train.telling.progress import Progress

    resources = job.settings.resources
    start_ray(num_cpus=resources.local_cpus)
    with Progress(job.settings, console=Console(stderr=job.as_json)) as progress:
        summary = run_training(job.settings, watch=progress.update)
    job.show(asdict(summary), human=lambda console: draw(console, summary, settings=job.settings))


def draw(console: Console, summary: RunSummary, *, settings: TrainSettings) -> None:
    """Say how the run ended, what became of the replay, and what to do next."""
    from asr_ray.model.base import name_for_jobs

    if summary.stopped is not None:
        console.print(f"ended early: {summary.stopped}")
    for tag, seconds in summary.replay.items():
        consumed_h, planned_h = seconds["consumed_s"] / 3600, seconds["planned_s"] / 3600
        console.print(f"replay of {tag}: {consumed_h:.2f} h, asked for {planned_h:.2f} h")
    console.print(
        f"best of {summary.steps} steps is step {summary.best_step}: {summary.best_model}\n"
        f"next: python jobs/evaluate.py --set 'models={{base: {name_for_jobs(settings.model.base)}, "
        f"tuned: {summary.best_model}}}' --set data=PREPARED_TEST --set out={summary.run_dir}/evaluation"
    )


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=TrainSettings, act=act, stand_ins={"from-decision": winner_path}))
