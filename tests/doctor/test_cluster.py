"""The doctor on a real Ray: what the nodes answer, and what it leaves behind."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.doctor import cluster
from asr_ray.doctor.cluster import clock_skew, cluster_facts, last_line
from asr_ray.doctor.machine import FORMATS
from asr_ray.security import Door
from asr_ray.settings import DoctorSettings


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_one_node_tells_all(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("a file")
    settings = DoctorSettings(storage=[tmp_path / "runs", tmp_path / "in-the-way"])
    facts = cluster_facts(settings)

    (node,) = facts.nodes
    assert (node.failure, node.cpus, node.ray_gpus) == ("", 4.0, 0.0)
    assert node.machine is not None
    assert node.machine.versions["ray"] == "2.60.0"
    assert dict(node.machine.decode_errors) == dict.fromkeys(FORMATS, "")
    # One clock: the answer must be right within its own error.
    assert abs(node.skew_s) <= node.skew_error_s
    good, bad = node.storage
    assert (good.write_error, good.is_shared) == ("", True)
    assert bad.write_error
    assert list((tmp_path / "runs").iterdir()) == []
    assert facts.door is Door.OPEN
    assert facts.collective is not None
    assert (facts.collective.backend, facts.collective.processes, facts.collective.error) == ("gloo", 2, "")


class NoSuchPackage(cluster.NodeProbe):
    def __init__(self) -> None:
        raise ModuleNotFoundError("No module named 'asr_ray'")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_node_that_cannot_answer_is_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "NodeProbe", NoSuchPackage)
    facts = cluster_facts(DoctorSettings(storage=[tmp_path]))
    (node,) = facts.nodes
    assert "No module named 'asr_ray'" in node.failure
    assert (node.machine, facts.collective) == (None, None)


@given(
    ahead_s=st.floats(-1e4, 1e4),
    ways_s=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=5, max_size=5),
)
def test_the_skew_is_right_within_its_error(ahead_s: float, ways_s: list[tuple[float, float]]) -> None:
    now_s = 1e6
    trips = iter(ways_s)

    def ask() -> float:
        nonlocal now_s
        there, back = next(trips)
        now_s += there
        answer = now_s + ahead_s
        now_s += back
        return answer

    skew_s, error_s = clock_skew(ask, clock=lambda: now_s)
    assert abs(skew_s - ahead_s) <= error_s + 1e-6
    assert error_s <= min(sum(trip) for trip in ways_s) / 2 + 1e-6


def test_the_shortest_trip_counts() -> None:
    clock = count()
    assert clock_skew(lambda: 100.5, clock=lambda: float(next(clock)))[1] == 0.5


def test_the_cause_stands_last() -> None:
    text = "The actor died\n  File x\n\nModuleNotFoundError: No module named 'asr_ray'\n"
    assert last_line(RuntimeError(text)) == "ModuleNotFoundError: No module named 'asr_ray'"
    assert last_line(RuntimeError("")) == "RuntimeError"
