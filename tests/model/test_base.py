"""A base model from the Hub: pinned, resumed, checked. The Hub is a small server of its protocol here."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.model.base import download, name_for_jobs, resolve_base
from asr_ray.model.tiny import base_model_path
from asr_ray.settings import HubModel

REVISION = "3fc30f3e2ae5d78d462441f3ce89dda694f89bd7"
CONTENT = hashlib.sha256(b"seed").digest() * 800_000
"""25.6 MB; huggingface_hub keeps what it has by 10 MB."""
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MODEL = HubModel(hf="nvidia/small-asr", revision=REVISION, sha256=DIGEST)


@dataclass
class Hub:
    """Where the server is, what it was asked for, and its next troubles.

    Attributes:
        troubles: ("cut", bytes to break off after) or ("status", of an error).
    """

    address: str = ""
    troubles: list[tuple[str, int]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """One file in one repository, by the paths and headers of the Hub."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            if self.path != f"/{MODEL.hf}/resolve/{REVISION}/{MODEL.file_name}":
                missing = "RepoNotFound" if "nobody" in self.path else "EntryNotFound"
                self.send_response(404)
                self.send_header("X-Error-Code", missing)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            trouble, number = state.troubles.pop(0) if with_body and state.troubles else ("", 0)
            if trouble == "status":
                self.send_response(number)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            start = int(re.findall(r"\d+", asked)[0]) if asked else 0
            body = CONTENT[start:]
            self.send_response(206 if asked else 200)
            self.send_header("X-Repo-Commit", REVISION)
            self.send_header("ETag", f'"{DIGEST}"')
            self.send_header("Content-Length", str(len(body)))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.end_headers()
            if with_body:
                state.ranges.append(asked)
                self.wfile.write(body[:number] if trouble else body)
                self.close_connection = trouble != ""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


Fetch = Callable[..., Path]


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    def call(base: HubModel = MODEL) -> Path:
        return download(base, cache_dir=tmp_path / "cache", endpoint=hub.address)

    return call


def test_a_pinned_file_is_downloaded_once(hub: Hub, fetch: Fetch) -> None:
    path = fetch()
    assert (path.name, path.read_bytes()) == ("small-asr.nemo", CONTENT)
    assert fetch() == path
    assert hub.ranges == [None]


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub: Hub, fetch: Fetch) -> None:
    hub.troubles = [("cut", 12_000_000), ("cut", 12_000_000)]
    assert fetch().read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=10485760-", "bytes=20971520-"]


def test_one_that_was_given_up_leaves_nothing_that_the_next_could_trip_over(hub: Hub, fetch: Fetch) -> None:
    hub.troubles = [("cut", 12_000_000), ("status", 403)]
    with pytest.raises(EnvironmentFault, match="cannot be downloaded"):
        fetch()
    assert fetch().read_bytes() == CONTENT


def test_another_file_than_the_pinned_one_is_refused(fetch: Fetch) -> None:
    with pytest.raises(ConfigError, match=f"sha256 is {DIGEST}, expected {'0' * 64}") as caught:
        fetch(MODEL.model_copy(update={"sha256": "0" * 64}))
    assert "delete" in caught.value.fix


@pytest.mark.parametrize("changed", [{"hf": "nobody/small-asr"}, {"file": "other.nemo"}])
def test_what_the_hub_does_not_have_is_a_mistake_in_the_configuration(
    fetch: Fetch, changed: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match="the Hub has no"):
        fetch(MODEL.model_copy(update=changed))


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(EnvironmentFault, match="is not in the cache") as caught:
        # Nobody listens on port 9 of this machine.
        download(MODEL, cache_dir=tmp_path, endpoint="http://127.0.0.1:9")
    assert caught.value.exit_code == 4
    assert "small-asr.nemo" in caught.value.fix


def test_offline_mode_takes_the_cache_and_says_when_it_is_empty(fetch: Fetch, tmp_path: Path) -> None:
    path = fetch()
    code = (
        "import sys; from pathlib import Path; from asr_ray.errors import AsrRayError\n"
        "from asr_ray.model.base import resolve_base; from asr_ray.settings import HubModel\n"
        f"model = HubModel(hf='{MODEL.hf}', revision='{REVISION}', sha256='{DIGEST}')\n"
        "try: print(resolve_base(model))\n"
        "except AsrRayError as error: sys.exit(error.exit_code)"
    )
    results = {
        cache: subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / cache)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        for cache in ("cache", "empty")
    }
    assert (results["cache"].returncode, results["cache"].stdout.strip()) == (0, str(path))
    assert results["empty"].returncode == 4


def test_names_of_files(tmp_path: Path) -> None:
    assert MODEL.file_name == "small-asr.nemo"
    assert MODEL.model_copy(update={"file": "x/y.nemo"}).file_name == "x/y.nemo"
    assert resolve_base("tiny") == base_model_path()
    assert name_for_jobs("tiny") == "tiny"
    with pytest.raises(ConfigError, match="no such file"):
        resolve_base(str(tmp_path / "absent.nemo"))
