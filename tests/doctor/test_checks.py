"""Every failure the doctor knows is found in facts that show it, and healthy facts show none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asr_ray.doctor.checks import failed, judge, needed_gb
from asr_ray.doctor.facts import Check, CollectiveFacts, Facts, MachineFacts, NodeFacts, StorageFacts
from asr_ray.doctor.machine import FORMATS
from asr_ray.security import Door
from asr_ray.settings import DoctorSettings

TESTED = {"ray": "2.60.0", "torch": "2.13.0", "nemo-toolkit": "3.0.0", "pyarrow": "26.0.1", "numpy": "2.4.6"}
SETTINGS = DoctorSettings(gpus=4)
MACHINE = MachineFacts(
    python="3.11.9",
    versions=TESTED | {"torch": "2.13.0+cu130"},
    gpus=("NVIDIA L40S",) * 2,
    driver="580.95.05",
    torch_cuda="13.0",
    decode_errors=dict.fromkeys(FORMATS, ""),
)
STORAGE = StorageFacts(path="/mnt/shared/runs", free_gb=500.0)


def node(name: str = "10.0.0.1", **changes: Any) -> NodeFacts:
    known: dict[str, Any] = {"cpus": 8.0, "ray_gpus": 2.0, "machine": MACHINE, "storage": (STORAGE,)}
    return NodeFacts(name=name, **known | changes)


def facts(*nodes: NodeFacts, **changes: Any) -> Facts:
    known: dict[str, Any] = {
        "address": "10.0.0.1:6379",
        "nodes": nodes or (node(), node("10.0.0.2")),
        "door": Door.LOCKED,
        "collective": CollectiveFacts(backend="nccl", processes=2, nodes=2),
    }
    return Facts(**known | changes)


def with_machine(**changes: Any) -> Facts:
    return facts(node(), node("10.0.0.2", machine=replace(MACHINE, **changes)))


def with_storage(**changes: Any) -> Facts:
    return facts(node(), node("10.0.0.2", storage=(replace(STORAGE, **changes),)))


def verdicts(found: Facts, *, settings: DoctorSettings = SETTINGS) -> dict[str, Check]:
    return {check.name: check for check in judge(found, settings=settings, tested=TESTED)}


def test_a_healthy_cluster_passes_everything() -> None:
    assert {check.outcome for check in verdicts(facts()).values()} == {"ok"}


OLDER = MACHINE.versions | {"ray": "2.59.0"}
HOLED = MACHINE.versions | {"nemo-toolkit": "2.7.3"}
BROKEN = (
    ("cluster", facts(join_error="no Ray cluster answers", join_fix="correct RAY_ADDRESS"), "no Ray"),
    ("token", facts(door=Door.OPEN), "lets anyone run code"),
    ("nodes", facts(node(), node("b", machine=None, failure="No module named 'asr_ray'")), "b: No module"),
    ("same versions", with_machine(versions=OLDER), "ray is 2.60.0 on 10.0.0.1, 2.59.0 on 10.0.0.2"),
    ("same versions", with_machine(python="3.12.1"), "Python is 3.11.9 on 10.0.0.1, 3.12.1 on 10.0.0.2"),
    ("same versions", facts(node(machine=replace(MACHINE, versions={}))), "ray is absent"),
    ("security fixes", with_machine(versions=HOLED), "nemo-toolkit 2.7.3 is below 3.0.0 (CVE"),
    ("unsafe opt-ins", with_machine(unsafe=("TORCH_X", "RAY_Y")), "10.0.0.2: TORCH_X, RAY_Y"),
    ("GPUs", facts(node()), "2 in the cluster, 4 wanted"),
    ("GPUs", with_machine(torch_cuda=None), "10.0.0.2: torch is built for CPUs"),
    ("GPUs", with_machine(gpus=("NVIDIA L40S",)), "10.0.0.2: the driver has 1, Ray 2"),
    ("driver", with_machine(driver="550.54.15"), "550.54.15, CUDA 13.0 needs 580.65.06"),
    ("compiled loss", with_machine(kernel_error="LLVM is unhappy"), "10.0.0.2: LLVM is unhappy"),
    ("audio formats", with_machine(decode_errors={"MP3": "unknown format"}), "MP3: unknown format"),
    ("CPUs", facts(node(cpus=1.0)), "1 in the cluster"),
    ("clocks", facts(node(skew_s=-3.0, skew_error_s=0.1)), "10.0.0.1 is 3.0 s behind"),
    ("storage", with_storage(write_error="Read-only file system"), "10.0.0.2: /mnt/shared/runs: Read-only"),
    ("storage", with_storage(is_shared=False), "another folder than the driver's"),
    ("disk", with_storage(free_gb=20.0), "20 GB free of 36"),
    (
        "collective",
        facts(collective=CollectiveFacts(backend="gloo", processes=2, nodes=2, error="timed out")),
        "gloo, 2 processes on 2 nodes: timed out",
    ),
    ("collective", facts(collective=None), "not tried"),
)


@pytest.mark.parametrize(
    ("name", "found", "says"), BROKEN, ids=[f"{name}: {says}" for name, _, says in BROKEN]
)
def test_each_failure_is_found_and_has_a_fix(name: str, found: Facts, says: str) -> None:
    check = verdicts(found)[name]
    assert check.outcome == "fail"
    assert says in check.found
    assert check.fix
    assert failed(verdicts(found).values())


def test_every_check_has_a_failure_in_these_tests() -> None:
    assert {name for name, _, _ in BROKEN} == set(verdicts(facts())) - {"versions"}


def test_an_untested_version_is_told_and_allowed() -> None:
    changed = facts(node(machine=replace(MACHINE, versions=MACHINE.versions | {"numpy": "2.5.0"})), node("b"))
    check = verdicts(changed)["versions"]
    assert (check.outcome, check.found) == ("warn", "10.0.0.1: numpy 2.5.0 (tested: 2.4.6)")


def test_nodes_with_the_same_fault_share_a_line() -> None:
    broken = replace(MACHINE, kernel_error="no compiler")
    check = verdicts(facts(node("a", machine=broken), node("b", machine=broken)))["compiled loss"]
    assert check.found == "a b: no compiler"


def test_a_skew_within_the_error_of_the_question_is_none() -> None:
    assert verdicts(facts(node(skew_s=1.5, skew_error_s=0.6), node("b")))["clocks"].outcome == "ok"


def test_a_machine_without_gpus_is_well_if_none_are_wanted() -> None:
    plain = replace(MACHINE, gpus=(), driver=None, torch_cuda=None)
    found = verdicts(facts(node(machine=plain, ray_gpus=0.0)), settings=DoctorSettings())
    assert {check.outcome for check in found.values()} == {"ok"}


def test_the_disk_holds_all_checkpoints_at_their_largest() -> None:
    # Two kept, the best, one being written; best.nemo and its successor.
    settings = DoctorSettings(keep=2, checkpoint_gb=7.7, model_gb=2.6)
    assert needed_gb(settings) == pytest.approx(4 * 7.7 + 2 * 2.6)
