"""Look whether this machine or cluster can hold a run: each check with what to do when it fails.

    python jobs/doctor.py
    python jobs/doctor.py --set 'storage=[/mnt/shared/runs, /mnt/shared/data]' --set gpus=8
    ray job submit --working-dir . -- python jobs/doctor.py --set 'storage=[/mnt/shared/runs]'

Asks every node of the cluster of RAY_ADDRESS, or this machine: versions against those that were tested, GPUs,
driver and compiled loss, audio formats, clocks, storage and its free space, the token, and one all-reduce
between processes. Takes half a minute. Exit code 4 when a check fails.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.errors import EnvironmentFault
from asr_ray.settings import DoctorSettings

if TYPE_CHECKING:
    from asr_ray.doctor.facts import Facts


def act(job: Job[DoctorSettings]) -> int:
    """Gather, judge, show."""
    from asr_ray.doctor.checks import failed, judge
    from asr_ray.doctor.table import draw_checks
    from asr_ray.doctor.versions import read_constraints

    checks = judge(
        gather(job.settings), settings=job.settings, tested=read_constraints(job.settings.constraints)
    )
    tree = {"checks": [check.as_json() for check in checks], "failed": failed(checks)}
    job.show(tree, human=lambda console: draw_checks(console, checks))
    return EnvironmentFault.exit_code if failed(checks) else 0


def gather(settings: DoctorSettings) -> Facts:
    """Ask the cluster; where it cannot be joined, this machine alone, beside the reason."""
    from _ray import start_ray

    from asr_ray.doctor.facts import Facts, NodeFacts

    try:
        start_ray()
    except EnvironmentFault as error:
        from asr_ray.doctor.machine import machine_facts

        machine = NodeFacts(name="this machine", machine=machine_facts())
        return Facts(address="", nodes=(machine,), join_error=error.message, join_fix=error.fix)
    from asr_ray.doctor.cluster import cluster_facts

    return cluster_facts(settings)


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=DoctorSettings, act=act))
