"""The script for Slurm, with stand-ins for Slurm and Ray: signals, exit codes and what is queued again.

`ray symmetric-run` itself ends all Ray of the user on the machine, so it is no guest in a test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "cluster" / "slurm.sh"

STUBS = {
    "srun": 'exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "node1\\nnode2\\n"; else echo "$@" >>"$CALLS"; fi',
    # What stands behind -- runs on the head, and its code is that of the command.
    "ray": 'echo "${*:1:9}" >>"$CALLS"; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    "python": f'exec {sys.executable} "$@"',
}
COMMITS_WHEN_ASKED = (
    "import pathlib, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(6))\n"
    "pathlib.Path('started').touch()\n"
    "time.sleep(60)\n"
)


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script on the first of two nodes."""
    for name, text in STUBS.items():
        stub = tmp_path / "bin" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(f"#!/usr/bin/env bash\n{text}\n")
        stub.chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_ON_NODE": "16",
        "SLURM_GPUS_ON_NODE": "4",
    }


def calls(environment: dict[str, str]) -> list[str]:
    return Path(environment["CALLS"]).read_text().splitlines()


def test_ray_starts_on_all_nodes_with_a_token_and_the_command_on_the_head(slurm: dict[str, str]) -> None:
    show = "import os; print(os.environ['RAY_ADDRESS'], os.environ['RAY_AUTH_MODE']); "
    show += "path = os.environ['RAY_AUTH_TOKEN_PATH']; "
    show += "print(len(open(path).read()), oct(os.stat(path).st_mode)[-3:])"
    command = [str(SCRIPT), "python", "-c", show]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["node1:24711 token", "64 600"]
    (started,) = calls(slurm)
    assert started == "symmetric-run --address node1:24711 --min-nodes 2 --num-cpus 16 --num-gpus 4"
    assert not list(Path(slurm["SLURM_SUBMIT_DIR"]).glob(".slurm-*"))


@pytest.mark.parametrize("code", [0, 2, 5, 6])
def test_the_code_of_the_run_is_that_of_the_script_and_nothing_is_queued(
    slurm: dict[str, str], code: int
) -> None:
    command = [str(SCRIPT), "python", "-c", f"raise SystemExit({code})"]
    assert subprocess.run(command, env=slurm, check=False).returncode == code
    assert len(calls(slurm)) == 1


def test_before_the_time_limit_the_run_commits_and_is_queued_again(slurm: dict[str, str]) -> None:
    folder = Path(slurm["SLURM_SUBMIT_DIR"])
    script = subprocess.Popen([str(SCRIPT), "python", "-c", COMMITS_WHEN_ASKED], env=slurm)
    try:
        while not (folder / "started").exists():
            assert script.poll() is None
            time.sleep(0.05)
        script.send_signal(signal.SIGUSR1)
        assert script.wait(30) == 6
    finally:
        script.kill()
    assert calls(slurm)[1:] == ["requeue 4711"]


def test_without_a_command_it_says_how_to_give_one(slurm: dict[str, str]) -> None:
    done = subprocess.run([str(SCRIPT)], env=slurm, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "fix: sbatch cluster/slurm.sh" in done.stderr
