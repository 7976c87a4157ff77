"""Show what a run will read and waste: seconds and passes per source, padding, balance of the ranks.

    python jobs/plan.py --config configs/runs/demo.yaml

Reads the catalog and the tokenizer only; takes the configuration of jobs/train.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import TrainSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.data.plan_summary import PlanSummary


def act(job: Job[TrainSettings]) -> None:
    """Walk through the plan on metadata and show its sums."""
    from asr_ray.data.plan_summary import plan_summary, plan_warnings, summary_tree
    from asr_ray.train.setup import planned_data

    settings = job.settings
    planned = planned_data(settings)
    summary = plan_summary(planned.plan, steps=planned.num_steps, world_size=settings.resources.max_workers)
    warnings = [warning.detail for _, mix in planned.mixes for warning in mix.warnings]
    warnings += plan_warnings(planned.plan, summary=summary)
    tree = summary_tree(summary) | {"ranks": settings.resources.max_workers, "warnings": warnings}
    # Only a calibration gives costs in seconds.
    device = planned.data.cost.device if planned.data.cost else None
    job.show(tree, human=lambda console: draw(console, summary, device=device, warnings=warnings, job=job))


def draw(
    console: Console,
    summary: PlanSummary,
    *,
    device: str | None,
    warnings: list[str],
    job: Job[TrainSettings],
) -> None:
    """Draw the sources with their shares under each mix, the figures of the batches, the warnings."""
    from rich.table import Table

    settings = job.settings
    table = Table(title=f"{summary.steps:,} steps on {settings.resources.ranks_in_words}")
    shares = [f"from step {span.first_step:,}" for span in summary.mixes][1:]
    for column in ("locale", "source", "hours", "passes", "share", *shares):
        table.add_column(column, justify="left" if column in ("locale", "source") else "right")
    for key, seconds in summary.seconds.items():
        spans = [f"{span.seconds[key] / sum(span.seconds.values()):.1%}" for span in summary.mixes]
        table.add_row(*key, f"{seconds / 3600:,.2f}", f"{summary.passes[key]:.2f}", *spans)
    console.print(table)
    console.print(
        f"audio padding {summary.audio_padding:.1%}, lattice padding {summary.lattice_padding:.1%}, "
        f"step efficiency {summary.step_efficiency:.1%}"
    )
    console.print(
        f"largest batch {summary.largest_batch.padded_s:.0f} s, {summary.largest_batch.utterances} utterances"
    )
    if device is not None:
        hours = summary.steps * summary.step_cost / 3600
        console.print(f"{summary.step_cost:.2f} s a step on {device}, {hours:,.1f} h without validation")
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow")
    console.print(
        f"first checkpoint at step {settings.checkpoint.every_steps}, "
        f"first validation of tuned weights after {settings.validation.interval}"
    )
    console.print(f"next: python jobs/train.py --config {job.config}")


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=TrainSettings, act=act))
