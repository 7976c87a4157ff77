"""How many trials a cluster holds at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from asr_ray.errors import EnvironmentFault
from asr_ray.settings import ResourceSettings
from asr_ray.train.capacity import Node, check_capacity


def trials_at_once(resources: ResourceSettings, *, nodes: Sequence[Node], wanted: int | None) -> int:
    """Return how many trials may run side by side, each with all its workers.

    Ray Tune books the light driver of a trial and not its workers, so this is the only thing that keeps
    trials from waiting for each other's places. One CPU stays free to read data, for all of them.

    Args:
        wanted: upper limit; None takes what fits.

    Raises:
        EnvironmentFault: not one fits, or the cluster grows on demand and nobody said how far.
    """
    if resources.autoscaling:
        if wanted is None:
            raise EnvironmentFault(
                "the cluster starts nodes on demand, so how many trials it will hold cannot be computed",
                fix="give sweep.max_concurrent_trials",
            )
        return wanted
    check_capacity(resources, nodes=nodes)
    count = 1
    while count != wanted and _fit(count + 1, resources, nodes=nodes):
        count += 1
    return count


def _fit(count: int, resources: ResourceSettings, *, nodes: Sequence[Node]) -> bool:
    together = resources.model_copy(update={"num_workers": count * resources.max_workers})
    try:
        check_capacity(together, nodes=nodes)
    except EnvironmentFault:
        return False
    return True
