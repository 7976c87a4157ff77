"""The one place where jobs start or join Ray."""

from __future__ import annotations

import logging
import os


def start_ray(*, dashboard: bool = False, num_cpus: int | None = None) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine that ends with the process.

    Does nothing in a process that has joined one already.

    Args:
        dashboard: start the dashboard (on the loopback interface) with a local cluster.
        num_cpus: CPUs of a local cluster; None takes those of the machine.

    Raises:
        EnvironmentFault: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray reads its settings when it is imported.
    import ray

    from asr_ray.errors import EnvironmentFault

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=dashboard,
                dashboard_host="127.0.0.1",
                logging_level=logging.ERROR,
                # Failures arrive as exceptions; the rest stays in Ray's own log files.
                log_to_driver=False,
            )
    except ConnectionError as error:
        raise EnvironmentFault(
            f"no Ray cluster answers at {address}: {error}",
            fix="correct RAY_ADDRESS, or unset it to run on this machine",
        ) from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Warns that there are no progress bars, which we chose.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
