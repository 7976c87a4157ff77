"""Labels: what is asked for is carried by a node, or somebody is told."""

from __future__ import annotations

import logging

import pytest

from asr_ray.placement import carries, warn_of_absent_nodes

NODES = [{"pool": "head"}, {"pool": "gpu", "zone": "a"}]


@pytest.mark.parametrize(
    ("wanted", "holds"), [({}, True), ({"pool": "gpu"}, True), ({"pool": "gpu", "zone": "b"}, False)]
)
def test_a_node_carries_all_labels_or_none(wanted: dict[str, str], holds: bool) -> None:
    assert carries(NODES[1], wanted) is holds


@pytest.mark.parametrize(
    ("wanted", "warns"), [(None, False), ({}, False), ({"zone": "a"}, False), ({"pool": "cpu"}, True)]
)
def test_only_labels_that_no_node_has_are_warned_of(
    wanted: dict[str, str] | None, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_absent_nodes(wanted, nodes=NODES, key="worker_labels")
    assert bool(caplog.records) is warns
    if warns:
        assert "correct worker_labels" in caplog.text
