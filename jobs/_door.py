"""A look at the door of a cluster before a job joins it: is anybody there, and does it ask for a token?"""

from __future__ import annotations

import atexit
import os
import sys

from asr_ray.errors import EnvironmentFault
from asr_ray.security import Door, knock, open_cluster_warning, read_token


def check_door(address: str) -> None:
    """Tell at once what Ray would find out in twenty seconds, or in two minutes and without words.

    Raises:
        EnvironmentFault: nobody answers at `address`, or only with a token that this process has not.
    """
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
    if not _is_encrypted() and knock(address) is Door.OPEN:
        warning = open_cluster_warning(address) + "\n"
        sys.stderr.write(warning)
        # A job writes much; who looks at its end only shall see it as well.
        atexit.register(sys.stderr.write, warning)
