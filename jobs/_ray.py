"""The one place where jobs start or join Ray."""

from __future__ import annotations

import atexit
import logging
import os
import sys


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


def check_door(address: str) -> None:
    """Tell at once what Ray would find out in twenty seconds, or in two minutes and without words.

    Raises:
        EnvironmentFault: nobody answers at `address`, or only with a token that this process has not.
    """
    from asr_ray.errors import EnvironmentFault
    from asr_ray.security import Door, knock, read_token

    if address.startswith("http"):
        raise EnvironmentFault(
            f"RAY_ADDRESS is {address}: the dashboard, where jobs are submitted, not a cluster to join",
            fix="name it in RAY_API_SERVER_ADDRESS, which `ray job submit` reads, and unset RAY_ADDRESS",
        )
    # Other forms (`auto`, `ray://`), encryption and tokens of Kubernetes are for Ray alone.
    mode = os.environ.get("RAY_AUTH_MODE", "disabled")
    if "://" in address or ":" not in address or _is_encrypted() or mode not in ("token", "disabled"):
        return
    door = knock(address, token=read_token(os.environ) if mode == "token" else None)
    if door is Door.ABSENT:
        raise EnvironmentFault(
            f"no Ray cluster answers at {address}",
            fix="correct RAY_ADDRESS, or unset it to run on this machine",
        )
    if door is Door.LOCKED:
        raise EnvironmentFault(
            f"the Ray cluster at {address} refuses the token of this process, or got none",
            fix="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file with the cluster's token",
        )


def _is_encrypted() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def warn_if_open(address: str) -> None:
    """Warn on standard error, now and when the process ends, of a head that asks for no token."""
    from asr_ray.security import Door, knock, open_cluster_warning

    if not _is_encrypted() and knock(address) is Door.OPEN:
        warning = open_cluster_warning(address) + "\n"
        sys.stderr.write(warning)
        # A job writes much; who looks at its end only shall see it as well.
        atexit.register(sys.stderr.write, warning)
