"""Jobs on a real cluster of two nodes with a token, submitted as a user submits them.

The cluster is that of cluster/local.sh, on ports of its own and in a process group of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import _door
import _ray
import pytest

from asr_ray import security
from asr_ray.errors import EnvironmentFault
from asr_ray.security import Door, knock
from asr_ray.testing.noise import write_corpus, write_manifest

ROOT = Path(__file__).resolve().parents[2]
TOKEN, WRONG_TOKEN = "0123456789abcdef" * 4, "fedcba9876543210" * 4
MAX_UPLOAD_MB = 12.0
"""The tiny base is 7.3 MB of it; Ray's own limit is 512 MiB."""


@dataclass(frozen=True)
class Cluster:
    """Where to reach it, with the right token."""

    environment: Mapping[str, str]
    address: str

    def run(self, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(self, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return self.run("ray", "job", "submit", "--working-dir", ".", "--", *command, **changes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Paths of sockets are short or not at all: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    ports = {"PORT": str(free_port()), "DASHBOARD_PORT": str(free_port())}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_TOKEN": TOKEN,
        "OMP_NUM_THREADS": "1",
    }
    local = {"WORKERS": "1", "CPUS": "2", "GPUS": "0", "MEMORY": str(100 * 2**20), **ports}
    process = subprocess.Popen(
        [str(ROOT / "cluster" / "local.sh")],
        env={**environment, **local},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        assert first.startswith("head "), first
        client = {
            "RAY_AUTH_MODE": "token",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports['DASHBOARD_PORT']}",
        }
        yield Cluster({**environment, **client}, first.removeprefix("head ").partition(",")[0])
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.ray
def test_a_submitted_job_prepares_speech_on_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=6)
    manifest = write_manifest(tmp_path / "train.jsonl", rows)
    done = cluster.submit(
        *("python", "jobs/prepare.py", "--set", f"out={tmp_path / 'data'}"),
        *("--set", f"corpora=[{{path: {manifest}, source: noise, locale: el-GR}}]"),
        *("--set", "checks.max_rejected_share=1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "data" / "summary.json").read_text())
    assert "el-GR" in json.dumps(summary)
    assert "next: python jobs/train.py" in done.stdout
    assert "THIS RAY CLUSTER IS OPEN" not in done.stdout
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.ray
def test_whoever_brings_no_token_is_refused(cluster: Cluster) -> None:
    assert knock(cluster.address) is Door.LOCKED
    assert knock(cluster.address, token=WRONG_TOKEN) is Door.LOCKED
    assert knock(cluster.address, token=TOKEN) is Door.OPEN


@pytest.mark.ray
def test_a_wrong_token_cannot_submit(cluster: Cluster) -> None:
    done = cluster.submit("true", RAY_AUTH_TOKEN=WRONG_TOKEN)
    assert done.returncode == 1
    assert "Invalid authentication token" in done.stderr


@pytest.mark.ray
@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": WRONG_TOKEN}, "RAY_AUTH_TOKEN_PATH"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": TOKEN}, "RAY_AUTH_MODE=token"),
    ],
)
def test_a_job_without_the_token_is_told_at_once(
    cluster: Cluster, changes: Mapping[str, str], fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentFault, match="refuses the token of this process") as caught:
        _door.check_door(cluster.address)
    assert fix in caught.value.fix
    assert WRONG_TOKEN not in str(caught.value)


def test_the_address_of_a_dashboard_is_none_to_join() -> None:
    with pytest.raises(EnvironmentFault, match="not a cluster to join") as caught:
        _door.check_door("http://127.0.0.1:8265")
    assert "RAY_API_SERVER_ADDRESS" in caught.value.fix


def test_an_address_where_nobody_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_door, "knock", partial(knock, timeout_s=0.5))
    with pytest.raises(EnvironmentFault, match="no Ray cluster answers at"):
        _door.check_door(f"127.0.0.1:{free_port()}")


def test_an_unsafe_process_does_not_start_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(EnvironmentFault, match="refused: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        _ray.start_ray()


def test_an_open_cluster_is_told_now_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_the_end: list[tuple[Callable[[str], None], str]] = []
    monkeypatch.setattr("atexit.register", lambda *call: at_the_end.append(call))
    for door in Door:
        monkeypatch.setattr(_door, "knock", lambda address, door=door: door)
        _door.warn_if_open("10.0.0.7:6379")
    warning = capsys.readouterr().err
    assert warning == security.open_cluster_warning("10.0.0.7:6379") + "\n"
    assert [text for _, text in at_the_end] == [warning]


def test_only_code_and_configuration_are_uploaded(tmp_path: Path) -> None:
    # As Ray packs a working directory: in a copy of the checkout with large files where people leave them.
    from ray._private.runtime_env.packaging import create_package

    checkout = tmp_path / "checkout"
    for folder in ("asr_ray", "jobs", "configs", "docs", "cluster"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (".gitignore", ".rayignore", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / file, checkout / file)
    large = (
        "runs/x/best.nemo",
        "data/a.parquet",
        "speech/el.wav",
        "speech/el.tar",
        "base.nemo",
        ".venv/lib/torch.so",
        # Of no kind that anybody thought of.
        "takes.bin",
        "configs/corpora/manifest.jsonl",
        "asr_ray/.notes",
    )
    for name in large:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        with (checkout / name).open("wb") as file:
            file.truncate(2**30)
    package = tmp_path / "package.zip"
    create_package(str(checkout), package, include_gitignore=True, excludes=[".git", ".venv"])
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    assert not names & set(large)
    needed = {path for folder in ("asr_ray", "jobs", "configs") for path in (ROOT / folder).rglob("*")}
    tracked = {path for path in needed if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(ROOT).as_posix() for path in tracked} <= names
    assert not {name for name in names if name.startswith(("docs/", "cluster/"))}
    assert package.stat().st_size < MAX_UPLOAD_MB * 1e6
