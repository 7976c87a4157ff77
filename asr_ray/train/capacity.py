"""Whether the nodes of a cluster hold the workers of a run and can still read its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from asr_ray.errors import EnvironmentFault
from asr_ray.placement import carries
from asr_ray.settings import ResourceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one node of a cluster offers."""

    cpus: float
    gpus: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    def carries(self, labels: Mapping[str, str]) -> bool:
        """Whether the node has all of these labels."""
        return carries(self.labels, labels)


def check_capacity(resources: ResourceSettings, *, nodes: Sequence[Node]) -> None:
    """Raise EnvironmentFault unless the workers fit and one CPU stays free to read data.

    Of an elastic group the fewest have to fit: the others may come later.
    Without a free CPU ingestion waits forever and says nothing. A cluster that grows on demand is not
    judged: what it lacks now, its autoscaler may start.
    """
    if resources.autoscaling:
        return
    training = _chosen(nodes, labels=resources.worker_labels or {}, key="worker_labels")
    reading = _chosen(nodes, labels=resources.decode_labels or {}, key="decode_labels")
    _check_cpus(resources, training=training, reading=reading)
    gpus = sum(node.gpus for node in training)
    wanted = resources.min_workers * resources.gpus_per_worker
    if gpus < wanted:
        raise EnvironmentFault(
            f"{resources.min_workers} workers need {wanted:g} GPUs, their nodes have {gpus:g}",
            fix="lower resources.num_workers, or set resources.gpus_per_worker=0; "
            "resources.autoscaling=true waits for nodes that the cluster starts",
        )


def _chosen(nodes: Sequence[Node], *, labels: Mapping[str, str], key: str) -> list[Node]:
    chosen = [node for node in nodes if node.carries(labels)]
    if not chosen:
        raise EnvironmentFault(
            f"no node of the cluster has the labels {dict(labels)}",
            fix=f"correct resources.{key}, or start nodes with `ray start --labels`",
        )
    return chosen


def _check_cpus(resources: ResourceSettings, *, training: Sequence[Node], reading: Sequence[Node]) -> None:
    needed = resources.min_workers * resources.cpus_per_worker
    cpus = sum(node.cpus for node in training)
    elsewhere = sum(node.cpus for node in training if not node.carries(resources.decode_labels or {}))
    # Workers that fit on nodes of their own take nothing from those that read.
    left = sum(node.cpus for node in reading) - max(0.0, needed - elsewhere)
    if needed > cpus or left < 1.0:
        raise EnvironmentFault(
            f"{resources.min_workers} workers take {needed:g} of {cpus:g} CPUs; reading data needs one more",
            fix="lower resources.cpus_per_worker (0.5 is fine on a small machine) or resources.num_workers",
        )
