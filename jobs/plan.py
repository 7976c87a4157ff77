"""Show what a run will read and waste: seconds and passes per source, padding, balance of the ranks.

    python jobs/plan.py --config configs/runs/demo.yaml

Reads the catalog and the tokenizer only; takes the configuration of jobs/train.py.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import TrainSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.data.plan_summary import PlanSummary


def act(job: Job[TrainSettings]) -> None:
    """Walk through the plan on metadata and show its sums."""
    from asr_ray.data.plan_summary import plan_summary
    from asr_ray.train.setup import planned_data

    settings = job.settings
    planned = planned_data(settings)
    summary = plan_summary(planned.plan, steps=planned.num_steps, world_size=settings.resources.num_workers)
    tree = asdict(summary) | {
        name: {"/".join(key): value for key, value in getattr(summary, name).items()}
        for name in ("seconds", "passes")
    }
    job.show(tree, human=lambda console: draw(console, summary, job=job))


def draw(console: Console, summary: PlanSummary, *, job: Job[TrainSettings]) -> None:
    """Draw the table of sources and the figures of the batches."""
    from rich.table import Table

    settings = job.settings
    table = Table(title=f"{summary.steps:,} steps on {settings.resources.num_workers} ranks")
    for column in ("locale", "source", "hours", "share", "passes"):
        table.add_column(column, justify="left" if column in ("locale", "source") else "right")
    total_s = sum(summary.seconds.values())
    for key, seconds in summary.seconds.items():
        hours, share = f"{seconds / 3600:,.2f}", f"{seconds / total_s:.1%}"
        table.add_row(*key, hours, share, f"{summary.passes[key]:.2f}")
    console.print(table)
    console.print(
        f"audio padding {summary.audio_padding:.1%}, lattice padding {summary.lattice_padding:.1%}, "
        f"step efficiency {summary.step_efficiency:.1%}"
    )
    console.print(
        f"largest batch {summary.largest_batch.padded_s:.0f} s, {summary.largest_batch.utterances} utterances"
    )
    console.print(
        f"first checkpoint at step {settings.checkpoint.every_steps}, "
        f"first validation of tuned weights at {settings.validation.every_steps}"
    )
    console.print(f"next: python jobs/train.py --config {job.config}")


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=TrainSettings, act=act))
