"""The one place where jobs start or join Ray."""

from __future__ import annotations

import logging
import os

from _door import check_door, warn_if_open


def start_ray(*, dashboard: bool = False, num_cpus: int | None = None) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine that ends with the process.

    Does nothing in a process that has joined one already. Warns, now and at the end, of an open cluster.

    Args:
        dashboard: start the dashboard (on the loopback interface) with a local cluster.
        num_cpus: CPUs of a local cluster; None takes those of the machine.

    Raises:
        EnvironmentFault: the cluster cannot be reached, or this process is not safe to run.
    """
    from asr_ray import security

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    security.check_environment(os.environ)
    address = os.environ.get("RAY_ADDRESS")
    if address:
        os.environ.update(security.joining_environment(os.environ))
    # Ray reads its settings when it is imported.
    import ray

    if ray.is_initialized():
        return
    if address:
        _join(address)
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
    warn_if_open(ray.get_runtime_context().gcs_address)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Warns that there are no progress bars, which we chose.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def _join(address: str) -> None:
    import ray

    from asr_ray.errors import EnvironmentFault

    check_door(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        raise EnvironmentFault(
            f"the Ray cluster at {address} cannot be joined: {error}",
            fix="use the Python, the Ray and the token of the cluster; docs/troubleshooting.md says how",
        ) from error
