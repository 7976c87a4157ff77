"""`ray job submit` as a user types it, its log in a file, and what is to be waited for."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rehearsal.nodes import ROOT, Cluster

POLL_S = 0.5
_NUMBERS = itertools.count(1)


class RehearsalError(AssertionError):
    """Something did not go as it must."""


def expect(holds: bool, *, what: str) -> None:
    """Raise `RehearsalError` unless it holds."""
    if not holds:
        raise RehearsalError(what)


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted; `ray job submit` runs on and follows its log."""

    id: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """What the client has shown so far, the job's own output included."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def end(self) -> str:
        """The last lines of it, for messages."""
        return "\n".join(self.text.splitlines()[-30:])

    def wait(self, *, timeout_s: float) -> int:
        """Return the exit code of `ray job submit`: 0, or 1 for whatever the job's own was."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise RehearsalError(f"{self.id} did not end in {timeout_s:g} s:\n{self.end}") from error

    def until(self, reached: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Wait while the job runs."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            if self.process.poll() is not None:
                raise RehearsalError(f"{self.id} ended before {what}:\n{self.end}")
            if time.monotonic() > deadline:
                raise RehearsalError(f"{self.id}: no {what} in {timeout_s:g} s:\n{self.end}")
            time.sleep(POLL_S)


def submit(
    cluster: Cluster,
    name: str,
    *command: str,
    working_dir: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Submitted:
    """Submit a job under a new id; its log is `NAME-N.log` beside those of the nodes."""
    submission_id = f"{name}-{next(_NUMBERS)}"
    log = cluster.logs / f"{submission_id}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["ray", "job", "submit", "--submission-id", submission_id, "--working-dir", ".", "--", *command],
            cwd=working_dir,
            env={**cluster.environment, **(environment or {})},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    return Submitted(submission_id, process, log)


def stop(cluster: Cluster, job: Submitted) -> None:
    """`ray job stop`."""
    subprocess.run(
        ["ray", "job", "stop", job.id],
        cwd=cluster.folder,
        env=cluster.environment,
        capture_output=True,
        check=True,
        timeout=300,
    )
