"""Measure what a training step costs on this machine, and the largest batches that fit into its memory.

    python jobs/calibrate.py --config configs/runs/my_run.yaml --set out=runs/h200.json
    ray job submit --entrypoint-num-gpus 1 --working-dir . -- \\
        python jobs/calibrate.py --config configs/runs/my_run.yaml --set out=/shared/h200.json

Takes the configuration of jobs/train.py; resources.gpus_per_worker chooses the device. Measures on the
machine it is started on, within a minute or two, and writes one JSON record; data.calibration names it to
a run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import CalibrateSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.train.calibration.record import Calibration


def act(job: Job[CalibrateSettings]) -> None:
    """Measure and show the coefficients and the largest batches."""
    from rich.console import Console

    from asr_ray.train.calibration.run import calibrate

    with Console(stderr=True).status("training steps on made-up batches"):
        calibration = calibrate(job.settings)
    tree = calibration.model_dump(mode="json", exclude={"points"}) | {"record": str(job.settings.record)}
    job.show(tree, human=lambda console: draw(console, calibration, job=job))


def draw(console: Console, calibration: Calibration, *, job: Job[CalibrateSettings]) -> None:
    """Draw coefficients, errors of the fit, largest batches, and what to do next."""
    from rich.table import Table

    cost, record = calibration.cost, job.settings.record
    console.print(f"{calibration.model}, {calibration.subject.precision}, on {calibration.device.name}")
    console.print(
        f"milliseconds of a step: B x ({1e3 * cost.a:.3g} T + {1e3 * cost.b:.3g} T^2 + "
        f"{1e3 * cost.c:.3g} T U) + {1e3 * cost.d:.3g}, T in seconds"
    )
    console.print(
        f"batches held out of the fit: {cost.median_error:.0%} off, {cost.worst_error:.0%} at worst"
    )
    if calibration.limit is not None:
        table = Table(title=f"largest batches with {calibration.headroom:.0%} of the memory left free")
        for column in ("seconds", "tokens", "utterances", "by the fit"):
            table.add_column(column, justify="right")
        for each in calibration.largest:
            told = "" if each.predicted_utterances is None else str(each.predicted_utterances)
            table.add_row(f"{each.duration_s:g}", str(each.num_tokens), str(each.utterances), told)
        console.print(table)
        console.print("data.batch_s=null takes its limit from here: " + str(calibration.limit))
    config = f" --config {job.config}" if job.config else ""
    console.print(f"next: python jobs/plan.py{config} --set data.calibration={record}")


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=CalibrateSettings, act=act))
