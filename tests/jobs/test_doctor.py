"""The doctor as a command: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "jobs" / "doctor.py"), *arguments]
    environment = {**os.environ, **changes}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_without_its_cluster_it_still_looks_at_the_machine() -> None:
    done = run("--json", RAY_ADDRESS="http://127.0.0.1:8265")
    assert done.returncode == 4, done.stderr
    tree = json.loads(done.stdout)
    assert tree["failed"] is True
    checks = {check["name"]: check for check in tree["checks"]}
    assert checks["cluster"]["outcome"] == "fail"
    assert "RAY_API_SERVER_ADDRESS" in checks["cluster"]["fix"]
    assert (checks["audio formats"]["outcome"], checks["compiled loss"]["outcome"]) == ("ok", "ok")
    # Nothing can be summed over a cluster that was not joined.
    assert checks["collective"]["found"].startswith("not tried")
    assert all(check["fix"] for check in tree["checks"] if check["outcome"] != "ok")
