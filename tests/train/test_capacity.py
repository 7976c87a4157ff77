"""Workers are refused where they do not fit, or would leave no CPU to read data."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import EnvironmentFault
from asr_ray.settings import ResourceSettings
from asr_ray.train.capacity import Node, check_capacity

CPU_NODE = Node(cpus=4, labels={"pool": "cpu"})
GPU_NODE = Node(cpus=2, gpus=2, labels={"pool": "gpu"})
SPLIT = {"worker_labels": {"pool": "gpu"}, "decode_labels": {"pool": "cpu"}}


def fits(nodes: Sequence[Node], **resources: object) -> bool:
    try:
        check_capacity(ResourceSettings.model_validate(resources), nodes=nodes)
    except EnvironmentFault:
        return False
    return True


def test_workers_must_leave_a_cpu_for_reading() -> None:
    resources = ResourceSettings(num_workers=2, cpus_per_worker=1.0)
    with pytest.raises(EnvironmentFault, match="reading data needs one more") as caught:
        check_capacity(resources, nodes=[Node(cpus=2)])
    assert "cpus_per_worker" in caught.value.fix
    check_capacity(resources, nodes=[Node(cpus=3)])


def test_gpus_are_counted_before_workers_are_asked_for() -> None:
    resources = ResourceSettings(num_workers=2, gpus_per_worker=1)
    with pytest.raises(EnvironmentFault, match="2 workers need 2 GPUs, their nodes have 1"):
        check_capacity(resources, nodes=[Node(cpus=16, gpus=1)])


def test_workers_may_fill_nodes_that_do_not_read() -> None:
    assert fits([GPU_NODE, CPU_NODE], num_workers=2, gpus_per_worker=1, **SPLIT)
    assert not fits([GPU_NODE], num_workers=2, gpus_per_worker=1)


def test_gpus_of_other_nodes_do_not_count() -> None:
    spare = Node(cpus=8, gpus=8, labels={"pool": "other"})
    assert not fits(
        [GPU_NODE, CPU_NODE, spare], num_workers=3, gpus_per_worker=1, cpus_per_worker=0.1, **SPLIT
    )


@pytest.mark.parametrize("key", ["worker_labels", "decode_labels"])
def test_labels_that_no_node_has_are_named(key: str) -> None:
    resources = ResourceSettings.model_validate({key: {"pool": "gup"}})
    with pytest.raises(EnvironmentFault, match="gup") as caught:
        check_capacity(resources, nodes=[GPU_NODE, CPU_NODE])
    assert f"resources.{key}" in caught.value.fix


def test_a_cluster_that_grows_is_not_judged_by_what_it_has_now() -> None:
    assert fits([Node(cpus=0)], num_workers=8, gpus_per_worker=1, autoscaling=True)


@given(
    cpus=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    workers=st.integers(1, 8),
    share=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
)
def test_without_labels_one_cpu_of_all_stays_free(cpus: list[int], workers: int, share: float) -> None:
    expected = sum(cpus) - workers * share >= 1
    assert fits([Node(cpus=each) for each in cpus], num_workers=workers, cpus_per_worker=share) == expected


def test_of_an_elastic_group_the_fewest_have_to_fit() -> None:
    assert fits([Node(cpus=3)], num_workers=[1, 4], cpus_per_worker=1.0)
    assert not fits([Node(cpus=3)], num_workers=[3, 4], cpus_per_worker=1.0)
    assert fits([GPU_NODE, CPU_NODE], num_workers=[2, 8], gpus_per_worker=1, **SPLIT)
    assert not fits([GPU_NODE, CPU_NODE], num_workers=[3, 8], gpus_per_worker=1, **SPLIT)
