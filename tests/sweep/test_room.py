"""Trials side by side: as many as the machine holds, and a CPU to read with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import EnvironmentFault
from asr_ray.settings import ResourceSettings
from asr_ray.sweep.room import trials_at_once
from asr_ray.train.capacity import Node, check_capacity


@given(
    cpus=st.floats(1.5, 200.0),
    gpus=st.integers(0, 16),
    num_workers=st.integers(1, 8),
    per_worker=st.sampled_from([0.25, 0.5, 1.0, 4.0]),
    gpus_per_worker=st.sampled_from([0.0, 1.0]),
    wanted=st.none() | st.integers(1, 20),
)
def test_the_most_trials_that_leave_a_cpu_to_read_with(
    cpus: float, gpus: int, num_workers: int, per_worker: float, gpus_per_worker: float, wanted: int | None
) -> None:
    resources = ResourceSettings(
        num_workers=num_workers, cpus_per_worker=per_worker, gpus_per_worker=gpus_per_worker
    )
    nodes = [Node(cpus=cpus, gpus=gpus)]
    try:
        check_capacity(resources, nodes=nodes)
    except EnvironmentFault:
        with pytest.raises(EnvironmentFault):
            trials_at_once(resources, nodes=nodes, wanted=wanted)
        return
    count = trials_at_once(resources, nodes=nodes, wanted=wanted)
    assert 1 <= count <= (wanted or count)
    assert count * num_workers * per_worker <= cpus - 1
    assert count * num_workers * gpus_per_worker <= gpus
    if count != wanted:
        more = (count + 1) * num_workers
        assert more * per_worker > cpus - 1 or more * gpus_per_worker > gpus


def test_a_cluster_that_grows_is_believed() -> None:
    growing = ResourceSettings(autoscaling=True, gpus_per_worker=1.0)
    assert trials_at_once(growing, nodes=[], wanted=7) == 7
    with pytest.raises(EnvironmentFault, match="max_concurrent_trials"):
        trials_at_once(growing, nodes=[], wanted=None)
