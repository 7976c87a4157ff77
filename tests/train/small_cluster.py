"""A cluster of several nodes on this machine, whose nodes and processes may be killed."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    # A busy machine takes long to start two workers.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "PYTHONPATH": str(ROOT),
}


class SmallCluster:
    """A head that trains nothing, and nodes that may be lost."""

    def __init__(self, *, nodes: int = 2, cpus_per_node: int = 2) -> None:
        os.environ.update(ENVIRONMENT)
        from ray.cluster_utils import Cluster

        self.cluster: Any = self._patiently(
            lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        )
        self.nodes: list[Any] = []
        self.cpus_per_node = cpus_per_node
        for _ in range(nodes):
            self.add()

    def add(self) -> None:
        """Start a node."""
        self.nodes.append(self._patiently(lambda: self.cluster.add_node(num_cpus=self.cpus_per_node)))

    def lose(self, rng: random.Random) -> None:
        """Kill the processes of a node."""
        node = self.nodes.pop(rng.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)

    def drain(self, node_id: str, *, within_s: int) -> None:
        """Tell Ray that a node will be taken away, as an autoscaler or a spot instance does."""
        told = subprocess.run(
            [
                Path(sys.executable).parent / "ray",
                "drain-node",
                f"--address={self.cluster.address}",
                f"--node-id={node_id}",
                "--reason=DRAIN_NODE_REASON_PREEMPTION",
                "--reason-message=taken back",
                f"--deadline-remaining-seconds={within_s}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr

    def processes(self, *names: str) -> list[psutil.Process]:
        """Processes of this cluster whose title has one of the names."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(name in " ".join(process.cmdline()) for name in names):
                    found.append(process)
        return found

    def end(self) -> None:
        """Stop all that was started here."""
        started = psutil.Process().children(recursive=True)
        with contextlib.suppress(Exception):
            self.cluster.shutdown()
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()

    @staticmethod
    def _patiently(start: Callable[[], Any]) -> Any:
        """Ray gives a node 30 s to start, which a busy machine may not keep."""
        for _ in range(8):
            try:
                return start()
            except Exception as error:  # noqa: BLE001 - Ray raises nothing narrower
                print(f"node: {error}", file=sys.stderr)
        return start()
