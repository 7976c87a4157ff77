"""Which nodes may take work, by the labels of Ray; a label that no node has is work that waits for ever."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

Labels = Mapping[str, str]


def carries(node: Labels, wanted: Labels) -> bool:
    """Whether a node with these labels has all that are wanted."""
    return wanted.items() <= node.items()


def warn_of_absent_nodes(wanted: Labels | None, *, nodes: Sequence[Labels], key: str) -> None:
    """Warn when no node has the labels; no error, because a cluster may still be bringing them.

    Args:
        nodes: labels of each living node.
        key: of the configuration that names them.
    """
    if wanted and not any(carries(node, wanted) for node in nodes):
        log.warning(
            "no node of the cluster has the labels %s of %s: waiting for one that the cluster starts; "
            "without an autoscaler, stop this job and correct %s",
            dict(wanted),
            key,
            key,
        )
