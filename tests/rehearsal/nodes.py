"""A Ray cluster of real nodes on one machine, each a `ray start` of its own that can be killed and replaced.

Unlike `cluster/local.sh`, whose nodes live and die together, a node here may vanish without a word, as a spot
machine does, and another may join later. Ends the processes that it started, and no others.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
STARTED = "Ray runtime started"
ATTEMPTS = 4
"""Of starting a node: Ray gives itself half a minute for it, which a busy machine may exceed."""
STOP_TIMEOUT_S = 30.0
OBJECT_STORE_BYTES = 150 * 2**20


class NodeError(Exception):
    """A node that does not start."""


@dataclass(frozen=True)
class Node:
    """One `ray start --block` and what descends from it."""

    name: str
    process: subprocess.Popen[bytes]

    def family(self) -> list[psutil.Process]:
        """The living processes of its session, in which they stay when their parent dies, and those below."""
        found = [process for process in psutil.process_iter() if _session_of(process) == self.process.pid]
        for process in list(found):
            with suppress(psutil.NoSuchProcess):
                # What jobs start has sessions of its own.
                found += [child for child in process.children(recursive=True) if child not in found]
        return found

    def runs(self, name: str) -> bool:
        """Whether one of its processes has `name` in its command line; Ray writes there what it runs."""
        for process in self.family():
            try:
                if name in " ".join(process.cmdline()):
                    return True
            except psutil.Error:
                continue
        return False

    def vanish(self) -> None:
        """Kill every process at once: nothing can say goodbye."""
        _kill(self.family())
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Ask the node to end, and see that it did."""
        family = self.family()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT_S)
        _kill([*family, *self.family()])
        self.process.wait(STOP_TIMEOUT_S)


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)  # psutil looks whether the number was given away since
        except psutil.NoSuchProcess:
            continue


class Cluster:
    """A head without training resources, and workers.

    Attributes:
        environment: of whoever submits, with the right token.
    """

    def __init__(self, folder: Path, *, token: str, logs: Path) -> None:
        self.folder, self.logs = folder, logs
        self.nodes: dict[str, Node] = {}
        self.host = subprocess.check_output(["hostname", "-I"], text=True).split()[0]
        self.dashboard_port = free_port()
        self.address = ""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            # Where Ray would look for another token.
            "HOME": str(folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard_port}",
            "RAY_USAGE_STATS_ENABLED": "0",
            # `ray job stop`: a run commits a checkpoint first.
            "RAY_JOB_STOP_WAIT_TIME_S": "120",
            "OMP_NUM_THREADS": "1",
        }

    def start_all(self, workers: Mapping[str, int]) -> None:
        """Start a head, and workers by name and CPUs."""
        self.start_head()
        for name, cpus in workers.items():
            self.start_worker(name, cpus=cpus)

    def start_head(self) -> Node:
        """Start the node of the drivers and of the dashboard: one CPU, for reading, and no training."""
        node = self._start(
            "head",
            *("--head", "--port=0", f"--node-ip-address={self.host}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard_port}"),
            *(f"--ray-client-server-port={free_port()}", "--num-cpus=1", "--labels=pool=head"),
        )
        # Only Ray knows the port that the system gave it.
        found = re.search(r"--address='([^']+)'", self._log("head").read_text(encoding="utf-8"))
        if found is None:
            raise NodeError(f"the head names no address in {self._log('head')}")
        self.address = found[1]
        return node

    def start_worker(self, name: str, *, cpus: int) -> Node:
        """Start a node of the pool `worker`."""
        return self._start(name, f"--address={self.address}", f"--num-cpus={cpus}", "--labels=pool=worker")

    def _start(self, name: str, *arguments: str) -> Node:
        # A folder for each: in a shared one, nodes unpack a submitted job over each other.
        log = self._log(name)
        command = [
            *("ray", "start", "--block", "--disable-usage-stats", "--num-gpus=0"),
            *("--min-worker-port=0", "--max-worker-port=0"),
            f"--dashboard-agent-listen-port={free_port()}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            f"--temp-dir={self.folder / name}",
            *arguments,
        ]
        for _ in range(ATTEMPTS):
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    command,
                    env=self.environment,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            node = self.nodes[name] = Node(name, process)
            while STARTED not in log.read_text(encoding="utf-8", errors="replace"):
                if process.poll() is not None or self._lost_its_head():
                    node.stop()
                    break
                time.sleep(0.2)
            else:
                return node
            if self._lost_its_head():
                break
        raise NodeError(f"node {name} did not start:\n{log.read_text(encoding='utf-8')}")

    def _lost_its_head(self) -> bool:
        # On a busy machine it may end within a minute of its start: its parts wait 30 s for each other.
        return "head" in self.nodes and self.nodes["head"].process.poll() is not None

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def stop(self) -> None:
        """Stop all nodes, the head last."""
        for node in reversed(self.nodes.values()):
            node.stop()
        self.nodes.clear()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_cluster(*, token: str, workers: Mapping[str, int], logs: Path) -> Iterator[Cluster]:
    """Start a head and workers (name -> CPUs), one after the other, and stop them at the end.

    Args:
        logs: folder for the output of each node and job.
    """
    # Paths of sockets are short or not at all.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    cluster = Cluster(folder, token=token, logs=logs)
    try:
        for attempt in range(ATTEMPTS):
            try:
                cluster.start_all(workers)
                break
            except NodeError:
                if attempt == ATTEMPTS - 1:
                    raise
                cluster.stop()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
