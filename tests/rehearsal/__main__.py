"""A rehearsal of a real cluster: three Ray nodes, one of which dies in the middle of a run.

    python -m tests.rehearsal                       # some ten minutes on two quiet cores
    python -m tests.rehearsal --keep runs/rehearsal # keeps data, run, and the log of each job

A head without training resources and two workers, each `ray start` in processes and folders of its own,
locked by a token. Everything is done by `ray job submit`: prepare, train on both workers, sweep, evaluate.
Prints a line for each thing that was seen to hold; exit code 5 at the first that does not.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.rehearsal.nodes import Cluster, running_cluster
from tests.rehearsal.stages import STAGES, Skipped, Stage
from tests.rehearsal.submitted import RehearsalError

FAILED = 5
WORKERS = {"worker-1": 3, "worker-2": 3}
"""Name -> CPUs, logical ones: room for one rank of two CPUs each, and one CPU that reads."""


def main() -> int:
    """Run the stages, one after the other; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.rehearsal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep", type=Path, help="folder for data, run and logs; else they are removed")
    parser.add_argument("--only", help=f"comma-separated stages, of {', '.join(STAGES)}")
    options = parser.parse_args()
    # What was started is stopped, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))
    shared = options.keep or Path(tempfile.mkdtemp(prefix="asr-ray-rehearsal-"))
    shared.mkdir(parents=True, exist_ok=True)
    chosen = options.only.split(",") if options.only else list(STAGES)
    begin = time.monotonic()
    try:
        with running_cluster(token=secrets.token_hex(32), workers=WORKERS, logs=shared) as cluster:
            say(f"three nodes at {cluster.address}, dashboard {cluster.dashboard_port}", since=begin)
            ends_well = rehearse(cluster, shared.resolve(), stages=chosen, begin=begin)
    finally:
        if not options.keep:
            shutil.rmtree(shared, ignore_errors=True)
    say("all of it" if ends_well else "it failed", since=begin)
    return 0 if ends_well else FAILED


def rehearse(cluster: Cluster, shared: Path, *, stages: list[str], begin: float) -> bool:
    """Run stages and write a line for each finding; return whether everything held."""
    seconds: dict[str, float] = {}
    for name in stages:
        started = time.monotonic()
        tell = teller(name, begin=begin)
        stage: Stage = STAGES[name]
        try:
            stage(cluster, shared, tell)
        except Skipped as reason:
            tell(f"left out: {reason}")
        except RehearsalError as error:
            tell(f"FAILED: {error}")
            return False
        seconds[name] = round(time.monotonic() - started, 1)
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")
    return True


def teller(stage: str, *, begin: float) -> Callable[[str], None]:
    """What writes a finding with the name of its stage."""
    return lambda finding: say(f"{stage}: {finding}", since=begin)


def say(text: str, *, since: float) -> None:
    """Write a line with the seconds so far."""
    sys.stdout.write(f"[{time.monotonic() - since:5.0f} s] {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
