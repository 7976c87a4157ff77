"""One writer to a run folder: locks of the file system, which a dead owner does not keep.

    RUN/.driver      held by the process that runs the job: a second job on the folder is refused
    RUN/.workers     held by every rank: a new worker group waits until none of an earlier one can write

A kernel gives up the lock of a process that dies, however it dies, and NFS does so between nodes. On storage
without locks (some FUSE file systems) the run goes on with a warning.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from asr_ray.errors import ConfigError, EnvironmentFault

log = logging.getLogger(__name__)

_WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})
_POLL_S = 0.2


@contextmanager
def only_run(run_dir: Path) -> Iterator[None]:
    """Hold a run folder against every other job.

    Raises:
        ConfigError: another job holds it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".driver").open("a+", encoding="utf-8") as file:
        if not _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            file.seek(0)
            raise ConfigError(
                f"{run_dir}: another job is training here ({_owner_in_words(file.read())})",
                fix="wait until it has ended or stop it, or choose another run_dir",
            )
        file.truncate(0)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        file.write(json.dumps(owner))
        file.flush()
        yield


@contextmanager
def only_workers(
    run_dir: Path, *, rank: int, barrier: Callable[[], None], timeout_s: float = 300.0
) -> Iterator[None]:
    """Hold a run folder against the workers of an earlier start, which may outlive their driver or node.

    Args:
        barrier: waits for all ranks of this start.
        timeout_s: how long those of an earlier one may take to end.

    Raises:
        EnvironmentFault: some did not.
    """
    with (run_dir / ".workers").open("a+", encoding="utf-8") as file:
        if rank == 0:
            # Alone for a moment: then nobody else can write.
            deadline_s = time.monotonic() + timeout_s
            while not _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if time.monotonic() > deadline_s:
                    raise EnvironmentFault(
                        f"{run_dir}: a worker of an earlier start still runs after {timeout_s:.0f} s",
                        fix="end it (a process `ray::RayTrainWorker`, or a cut-off node), then repeat",
                    )
                time.sleep(_POLL_S)
            _lock(file, fcntl.LOCK_SH)
        barrier()
        _lock(file, fcntl.LOCK_SH)
        yield


def _lock(file: IO[str], operation: int) -> bool:
    """Return whether the lock was got; true where the file system knows none."""
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        log.warning("%s: this storage has no locks; see to it that no two jobs share a run_dir", file.name)
    return True


def _owner_in_words(text: str) -> str:
    try:
        owner = json.loads(text)
    except json.JSONDecodeError:
        return "it has just started"
    return f"process {owner['pid']} on {owner['host']} since {owner['since']}"


def _now() -> str:
    return datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
