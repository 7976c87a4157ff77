"""What was found on the nodes of a cluster, before anybody judges it. A failed question is a fact as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asr_ray.security import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """One machine, asked on the machine itself.

    Attributes:
        versions: of the packages that decide, as far as they are installed.
        unsafe: environment variables that would let data run code.
        gpus: names as the driver gives them; empty without a driver.
        driver: version of the NVIDIA driver.
        torch_cuda: CUDA version torch was built for; None for a build for CPUs.
        kernel_error: why the compiled loss does not run; empty if it does.
        decode_errors: format -> why a file of it cannot be read; empty texts where it can.
    """

    python: str
    versions: Mapping[str, str]
    unsafe: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    torch_cuda: str | None = None
    kernel_error: str = ""
    decode_errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFacts:
    """One folder, seen from one node.

    Attributes:
        free_gb: None where the folder cannot be asked.
        write_error: why a file could not be written and renamed there; empty if it was.
        is_shared: whether the driver saw that file with the same content.
    """

    path: str
    free_gb: float | None
    write_error: str = ""
    is_shared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node of the cluster.

    Attributes:
        name: address, with the start of the node's id where several share one.
        failure: why the node could not be asked; then nothing but the name is known.
        skew_s: clock of the node minus that of the driver.
        skew_error_s: half the round trip of the best question, within which `skew_s` is right.
    """

    name: str
    failure: str = ""
    cpus: float = 0.0
    ray_gpus: float = 0.0
    machine: MachineFacts | None = None
    skew_s: float = 0.0
    skew_error_s: float = 0.0
    storage: tuple[StorageFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveFacts:
    """An all-reduce over processes on the nodes.

    Attributes:
        backend: "nccl" where nodes have GPUs, else "gloo".
        error: why the sum did not arrive; empty if it did.
    """

    backend: str
    processes: int
    nodes: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the doctor knows.

    Attributes:
        address: of the head.
        join_error: why the cluster could not be joined; then there is one node, this machine.
        join_fix: what to do about it.
        door: what the head answers without a token; None where it was not asked.
        collective: None where nothing was tried.
    """

    address: str
    nodes: tuple[NodeFacts, ...]
    join_error: str = ""
    join_fix: str = ""
    door: Door | None = None
    collective: CollectiveFacts | None = None

    @property
    def machines(self) -> dict[str, MachineFacts]:
        """Node name -> its machine, for the nodes that answered."""
        return {node.name: node.machine for node in self.nodes if node.machine is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One verdict.

    Attributes:
        outcome: "ok"; "warn" for what may work; "fail" for what will not.
        fix: what to do, where the outcome is not "ok".
    """

    name: str
    outcome: str
    found: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "outcome": self.outcome, "found": self.found, "fix": self.fix}
