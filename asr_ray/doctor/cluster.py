"""Ask every node of the joined Ray cluster; the one file of the doctor that knows Ray.

one actor on each node -> the machine, its clock, its view of the storage
processes on the nodes -> one all-reduce
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asr_ray.doctor.collective import Backend, all_reduce_error, free_port
from asr_ray.doctor.facts import CollectiveFacts, Facts, MachineFacts, NodeFacts, StorageFacts
from asr_ray.doctor.machine import machine_facts, probe_storage
from asr_ray.security import knock
from asr_ray.settings import DoctorSettings

T = TypeVar("T")

_PINGS = 5
_PREFIX = ".asr-ray-doctor-"


class NodeProbe:
    """Answers for the node it runs on."""

    def machine(self) -> MachineFacts:
        """All about the machine."""
        return machine_facts()

    def clock_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def storage(self, folder: str, name: str) -> StorageFacts:
        """Write and rename a file."""
        return probe_storage(Path(folder), name=name)

    def free_port(self) -> int:
        """A port of this node."""
        return free_port()

    def all_reduce(self, **arguments: Any) -> str:
        """Take part in an all-reduce."""
        return all_reduce_error(**arguments)


@dataclass(frozen=True, slots=True)
class _Node:
    """A living node and the actor on it."""

    name: str
    id: str
    address: str
    resources: Mapping[str, float]
    probe: Any


def cluster_facts(settings: DoctorSettings) -> Facts:
    """Gather all facts about the cluster that this process has joined; some seconds for each of the parts."""
    nodes = _nodes()
    marker = _PREFIX + uuid.uuid4().hex
    # The folders of a driver are relative to it, and nodes run elsewhere.
    folders = [path.absolute() for path in settings.storage]
    found = []
    try:
        # All nodes import at once; what each then answers is cheap.
        machines = [node.probe.machine.remote() for node in nodes]
        for node, machine in zip(nodes, machines, strict=True):
            found.append(_node_facts(node, machine, folders=folders, marker=marker, settings=settings))
    finally:
        for folder in folders:
            for left in folder.glob(f"{marker}*"):
                left.unlink(missing_ok=True)
    answering = [node for node, facts in zip(nodes, found, strict=True) if not facts.failure]
    address = ray.get_runtime_context().gcs_address
    return Facts(
        address=address,
        nodes=tuple(found),
        door=knock(address),
        collective=_collective_facts(answering, timeout_s=settings.timeout_s) if answering else None,
    )


def _nodes() -> list[_Node]:
    alive = [node for node in ray.nodes() if node["Alive"]]
    per_address = Counter(node["NodeManagerAddress"] for node in alive)
    found = []
    for node in alive:
        address, node_id = node["NodeManagerAddress"], node["NodeID"]
        name = address if per_address[address] == 1 else f"{address} ({node_id[:6]})"
        found.append(_Node(name, node_id, address, node["Resources"], _probe_on(node_id)))
    return found


def _probe_on(node_id: str, *, num_gpus: int = 0) -> Any:
    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(NodeProbe).options(num_cpus=0, num_gpus=num_gpus, scheduling_strategy=where).remote()


def _node_facts(
    node: _Node, machine: Any, *, folders: Sequence[Path], marker: str, settings: DoctorSettings
) -> NodeFacts:
    facts = NodeFacts(
        name=node.name, cpus=node.resources.get("CPU", 0.0), ray_gpus=node.resources.get("GPU", 0.0)
    )
    try:
        answer = ray.get(machine, timeout=settings.timeout_s)
        skew_s, error_s = clock_skew(
            lambda: float(ray.get(node.probe.clock_s.remote(), timeout=settings.timeout_s)), clock=time.time
        )
        storage = [
            _storage_facts(node, folder, name=f"{marker}-{node.id}", timeout_s=settings.timeout_s)
            for folder in folders
        ]
    except RayError as error:
        return replace(facts, failure=last_line(error))
    return replace(facts, machine=answer, skew_s=skew_s, skew_error_s=error_s, storage=tuple(storage))


def clock_skew(ask: Callable[[], float], *, clock: Callable[[], float]) -> tuple[float, float]:
    """Return how far a clock is ahead of ours, and within what, both in seconds.

    The answer belongs to the middle of its round trip, and the shortest of some trips is the best (the rule
    of NTP, RFC 5905).
    """
    best = (0.0, float("inf"))
    for _ in range(_PINGS):
        before = clock()
        theirs = ask()
        after = clock()
        if (after - before) / 2 < best[1]:
            best = (theirs - (before + after) / 2, (after - before) / 2)
    return best


def _storage_facts(node: _Node, folder: Path, *, name: str, timeout_s: float) -> StorageFacts:
    facts: StorageFacts = ray.get(node.probe.storage.remote(str(folder), name), timeout=timeout_s)
    if facts.write_error:
        return facts
    try:
        seen = (folder / name).read_text(encoding="utf-8") == name
    except OSError:
        seen = False
    return replace(facts, is_shared=seen)


def _collective_facts(nodes: Sequence[_Node], *, timeout_s: float) -> CollectiveFacts:
    """Let one process per node add up numbers, two where there is one node; on GPUs where there are any."""
    on_gpus = [node for node in nodes if node.resources.get("GPU", 0.0) >= 1]
    backend: Backend = "nccl" if on_gpus else "gloo"
    members = list(on_gpus or nodes)
    if backend == "nccl":
        if len(members) == 1 and members[0].resources["GPU"] >= 2:
            members *= 2
        # The probes reserved no GPU, and Ray hides GPUs from who did not.
        probes = [_probe_on(node.id, num_gpus=1) for node in members]
    else:
        probes = [node.probe for node in members]
        if len(members) == 1:
            members *= 2
            probes.append(_probe_on(members[0].id))
    facts = CollectiveFacts(backend=backend, processes=len(probes), nodes=len({node.id for node in members}))
    try:
        port = ray.get(probes[0].free_port.remote(), timeout=timeout_s)
        answers = [
            probe.all_reduce.remote(
                backend=backend,
                rank=rank,
                processes=len(probes),
                master=f"{members[0].address}:{port}",
                timeout_s=timeout_s / 2,
            )
            for rank, probe in enumerate(probes)
        ]
        errors = ray.get(answers, timeout=timeout_s)
    except RayError as error:
        errors = [last_line(error)]
    for probe in probes:
        ray.kill(probe)
    return replace(facts, error=next(filter(None, errors), ""))


def last_line(error: Exception) -> str:
    """Return the line of one of Ray's errors that names the cause: the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
