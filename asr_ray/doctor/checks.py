"""Judge what was found: pure functions from facts to verdicts, each with what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from asr_ray.doctor.facts import Check, Facts, MachineFacts
from asr_ray.doctor.versions import MUST_AGREE, public, untested
from asr_ray.security import Door, below_floor, release_of
from asr_ray.settings import DoctorSettings

OLDEST_DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""Major version of CUDA -> oldest Linux driver that runs any minor one (CUDA release notes, table 3)."""

_INSTALL = (
    "pip install --constraint constraints.txt '.[dev]' on that node, or use the image of cluster/Dockerfile"
)


def judge(facts: Facts, *, settings: DoctorSettings, tested: Mapping[str, str]) -> list[Check]:
    """Return all verdicts, in the order in which a person would mend things.

    Args:
        tested: package -> version in which the tests passed.
    """
    return [
        check_join(facts),
        check_token(facts),
        check_nodes(facts),
        check_versions(facts, tested=tested),
        check_agreement(facts),
        check_fixes(facts),
        check_opt_ins(facts),
        check_gpus(facts, wanted=settings.gpus),
        check_driver(facts),
        check_kernel(facts),
        check_formats(facts),
        check_free_cpu(facts),
        check_clocks(facts, limit_s=settings.max_clock_skew_s),
        check_storage(facts),
        check_disk(facts, needed_gb=needed_gb(settings)),
        check_collective(facts),
    ]


def failed(checks: Iterable[Check]) -> bool:
    """Whether any verdict is a failure."""
    return any(check.outcome == "fail" for check in checks)


def _verdict(name: str, problems: Iterable[str], *, good: str, fix: str, outcome: str = "fail") -> Check:
    found = "; ".join(problems)
    return Check(name=name, outcome=outcome, found=found, fix=fix) if found else _ok(name, good)


def _ok(name: str, found: str) -> Check:
    return Check(name=name, outcome="ok", found=found)


def check_join(facts: Facts) -> Check:
    """The cluster of RAY_ADDRESS can be joined."""
    if facts.join_error:
        return Check(name="cluster", outcome="fail", found=facts.join_error, fix=facts.join_fix)
    return _ok("cluster", f"{facts.address}, {len(facts.nodes)} nodes")


def check_token(facts: Facts) -> Check:
    """The head refuses whoever brings no token."""
    if facts.door is Door.OPEN:
        return Check(
            name="token",
            outcome="fail",
            found=f"{facts.address} lets anyone run code: it asks for no token",
            fix="start all nodes with RAY_AUTH_MODE=token and one token, see docs/security.md",
        )
    if facts.door is Door.LOCKED:
        return _ok("token", "refused without one")
    return Check(
        name="token",
        outcome="warn",
        found="the head was not asked",
        fix="join the cluster first; behind TLS, look at RAY_AUTH_MODE of the head yourself",
    )


def check_nodes(facts: Facts) -> Check:
    """Every node can run this package."""
    broken = [f"{node.name}: {node.failure}" for node in facts.nodes if node.failure]
    return _verdict("nodes", broken, good="all answer", fix=_INSTALL)


def check_versions(facts: Facts, *, tested: Mapping[str, str]) -> Check:
    """Versions are those in which the tests passed."""
    if not tested:
        return Check(
            name="versions",
            outcome="warn",
            found="no file with tested versions",
            fix="run in a checkout, or --set constraints=FILE",
        )
    odd = _by_machine(
        facts,
        lambda machine: [
            f"{name} {version} (tested: {wanted})"
            for name, (version, wanted) in untested(machine.versions, tested=tested).items()
        ],
    )
    return _verdict("versions", odd, good="as tested", fix=_INSTALL, outcome="warn")


def check_agreement(facts: Facts) -> Check:
    """Nodes share the versions (and the Python) whose objects they exchange."""
    names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for node, machine in facts.machines.items():
        names["Python"][machine.python].append(node)
        for package in MUST_AGREE:
            names[package][public(machine.versions.get(package, "absent"))].append(node)
    problems = [
        f"{package} is " + ", ".join(f"{version} on {' '.join(nodes)}" for version, nodes in found.items())
        for package, found in names.items()
        if len(found) > 1 or "absent" in found
    ]
    return _verdict("same versions", problems, good="on all nodes", fix=_INSTALL)


def check_fixes(facts: Facts) -> Check:
    """No package is below the version that closed a known hole."""
    old = _by_machine(
        facts,
        lambda machine: [
            f"{name} {machine.versions[name]} is below {floor.version} ({floor.advisory})"
            for name, floor in below_floor(machine.versions).items()
        ],
    )
    return _verdict("security fixes", old, good="present", fix=_INSTALL)


def check_opt_ins(facts: Facts) -> Check:
    """No node lets data run code."""
    unsafe = _by_machine(facts, lambda machine: machine.unsafe)
    fix = "unset these variables where Ray is started on the node, and start it again"
    return _verdict("unsafe opt-ins", unsafe, good="none", fix=fix)


def check_gpus(facts: Facts, *, wanted: int) -> Check:
    """Ray counts the GPUs that are there, and there are as many as the run wants."""
    total = sum(node.ray_gpus for node in facts.nodes)
    problems = [f"{total:g} in the cluster, {wanted} wanted"] if total < wanted else []
    for node in facts.nodes:
        machine = node.machine
        if machine is None:
            continue
        if node.ray_gpus > 0 and machine.torch_cuda is None:
            problems.append(f"{node.name}: torch is built for CPUs")
        if len(machine.gpus) != node.ray_gpus:
            problems.append(f"{node.name}: the driver has {len(machine.gpus)}, Ray {node.ray_gpus:g}")
    kinds = sorted({name for machine in facts.machines.values() for name in machine.gpus})
    good = f"{total:g} ({', '.join(kinds)})" if kinds else "none, none wanted"
    fix = "start Ray on GPU nodes with --num-gpus, a driver and torch for CUDA; or wait for the autoscaler"
    return _verdict("GPUs", problems, good=good, fix=fix)


def check_driver(facts: Facts) -> Check:
    """The driver is new enough for the CUDA that torch was built for."""
    problems = []
    for node, machine in facts.machines.items():
        if machine.driver is None or machine.torch_cuda is None:
            continue
        oldest = OLDEST_DRIVERS.get(release_of(machine.torch_cuda)[0])
        if oldest and release_of(machine.driver) < release_of(oldest):
            problems.append(f"{node}: {machine.driver}, CUDA {machine.torch_cuda} needs {oldest}")
    drivers = sorted({machine.driver for machine in facts.machines.values() if machine.driver})
    fix = "update the driver, or install torch for an older CUDA"
    return _verdict("driver", problems, good=", ".join(drivers) or "no GPU, none needed", fix=fix)


def check_kernel(facts: Facts) -> Check:
    """Numba compiles the loss for the CPU and torch runs it."""
    broken = _by_machine(facts, lambda machine: [machine.kernel_error])
    fix = (
        "install numba and llvmlite of constraints.txt; NUMBA_CACHE_DIR must be a folder that can be written"
    )
    return _verdict("compiled loss", broken, good="numba and torch agree with a known result", fix=fix)


def check_formats(facts: Facts) -> Check:
    """One file of each format can be read."""
    broken = _by_machine(
        facts,
        lambda machine: [f"{name}: {error}" for name, error in machine.decode_errors.items() if error],
    )
    names = dict.fromkeys(name for machine in facts.machines.values() for name in machine.decode_errors)
    fix = "pip install soundfile of constraints.txt, whose wheel brings libsndfile 1.2 with all of them"
    return _verdict("audio formats", broken, good=", ".join(names), fix=fix)


def check_free_cpu(facts: Facts) -> Check:
    """There are two CPUs: one for a training worker, one to read data."""
    total = sum(node.cpus for node in facts.nodes)
    problems = [f"{total:g} in the cluster"] if total < 2 else []
    fix = "one CPU must be left to read data: add a node, or resources.local_cpus=2 on a small machine"
    return _verdict("CPUs", problems, good=f"{total:g}", fix=fix)


def check_clocks(facts: Facts, *, limit_s: float) -> Check:
    """Clocks differ by less than the limit, as far as a round trip can tell."""
    apart = [
        f"{node.name} is {abs(node.skew_s):.1f} s {'ahead' if node.skew_s > 0 else 'behind'}"
        for node in facts.nodes
        if abs(node.skew_s) - node.skew_error_s > limit_s
    ]
    largest = max((abs(node.skew_s) for node in facts.nodes), default=0.0)
    fix = "start chrony or systemd-timesyncd on that node; tokens of object stores end by the clock"
    return _verdict("clocks", apart, good=f"within {largest:.3f} s", fix=fix)


def check_storage(facts: Facts) -> Check:
    """Every node writes and renames in the folders, and they are the same folders."""
    problems = []
    for node in facts.nodes:
        for storage in node.storage:
            if storage.write_error:
                problems.append(f"{node.name}: {storage.path}: {storage.write_error}")
            elif not storage.is_shared:
                problems.append(f"{node.name}: {storage.path} is another folder than the driver's")
    folders = dict.fromkeys(storage.path for node in facts.nodes for storage in node.storage)
    fix = "mount one shared volume (NFS, EFS, Filestore, Lustre) on every node under the same path"
    return _verdict("storage", problems, good=f"one and the same on all nodes: {', '.join(folders)}", fix=fix)


def needed_gb(settings: DoctorSettings) -> float:
    """Return the disk a run fills: `keep` checkpoints, the best, one being written, two models likewise."""
    return (settings.keep + 2) * settings.checkpoint_gb + 2 * settings.model_gb


def check_disk(facts: Facts, *, needed_gb: float) -> Check:
    """Checkpoints fit on the storage."""
    free_gb = {
        storage.path: storage.free_gb
        for node in facts.nodes
        for storage in node.storage
        if storage.free_gb is not None
    }
    small = [
        f"{path}: {free:.0f} GB free of {needed_gb:.0f}" for path, free in free_gb.items() if free < needed_gb
    ]
    good = ", ".join(f"{path}: {free:.0f} GB free, {needed_gb:.0f} needed" for path, free in free_gb.items())
    fix = "free some space, or lower checkpoint.keep; for the tiny base --set checkpoint_gb=0.1"
    return _verdict("disk", small, good=good or "not asked", fix=fix)


def check_collective(facts: Facts) -> Check:
    """Gradients can be averaged over the nodes."""
    probe = facts.collective
    if probe is None:
        return Check(
            name="collective",
            outcome="fail",
            found="not tried: no node answers",
            fix="mend what stands above first",
        )
    what = f"{probe.backend}, {probe.processes} processes on {probe.nodes} nodes"
    fix = (
        "let the nodes reach each other on all ports, and name the network card in "
        f"{'NCCL' if probe.backend == 'nccl' else 'GLOO'}_SOCKET_IFNAME if there are several"
    )
    return _verdict("collective", [f"{what}: {probe.error}"] if probe.error else [], good=what, fix=fix)


def _by_machine(facts: Facts, problems: Callable[[MachineFacts], Iterable[str]]) -> Iterator[str]:
    """Yield what `problems` finds on each machine; nodes with the same finding share one text."""
    nodes: dict[str, list[str]] = defaultdict(list)
    for node, machine in facts.machines.items():
        text = ", ".join(filter(None, problems(machine)))
        if text:
            nodes[text].append(node)
    for text, named in nodes.items():
        yield f"{' '.join(named)}: {text}"
