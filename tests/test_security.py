"""Unsafe processes are refused, holes are known by version, and an open door is told from a locked one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray import security
from asr_ray.errors import EnvironmentFault
from asr_ray.security import FLOORS, UNSAFE_OPT_INS, Door, check_environment, knock, release_of


@pytest.mark.parametrize("name", UNSAFE_OPT_INS)
@pytest.mark.parametrize("value", ["1", "true", "True", "yes"])
def test_an_unsafe_opt_in_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(EnvironmentFault, match=name) as caught:
        check_environment({name: value})
    assert caught.value.fix == f"unset {name}"


@pytest.mark.parametrize("value", ["", "0", "false", "no", " 0 "])
def test_an_opt_in_that_is_off_is_no_fault(value: str) -> None:
    check_environment(dict.fromkeys(UNSAFE_OPT_INS, value))


@pytest.mark.parametrize("name", FLOORS)
def test_a_version_with_a_known_hole_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "installed_versions", lambda names: {name: "0.9.1"})
    with pytest.raises(EnvironmentFault, match=f"{name} is below {FLOORS[name].version} .*CVE"):
        check_environment({})


@pytest.mark.parametrize("name", FLOORS)
def test_the_floor_itself_is_high_enough(name: str) -> None:
    assert not security.below_floor({name: FLOORS[name].version})
    assert not security.below_floor({name: f"{FLOORS[name].version}+cu130"})


@given(st.lists(st.integers(0, 999), min_size=1, max_size=4), st.sampled_from(["", "+cpu", "rc1", ".dev3"]))
def test_releases_are_the_numbers_of_a_version(numbers: list[int], suffix: str) -> None:
    assert release_of(".".join(map(str, numbers)) + suffix) == tuple(numbers)


def test_releases_compare_as_numbers_do() -> None:
    ordered = ["2.9.1", "2.10", "2.10.1", "3"]
    assert all(release_of(a) < release_of(b) for a, b in itertools.pairwise(ordered))


def test_a_token_is_shown_to_a_cluster_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert security.joining_environment({}) == {}
    assert security.joining_environment({"RAY_AUTH_TOKEN": "x"}) == {"RAY_AUTH_MODE": "token"}
    assert security.joining_environment({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")}) == {}
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x\n")
    assert security.read_token({}) == "x"
    assert security.joining_environment({}) == {"RAY_AUTH_MODE": "token"}
    assert security.joining_environment({"RAY_AUTH_MODE": "disabled"}) == {}


@contextmanager
def head(answer: Callable[[grpc.ServicerContext], bytes]) -> Iterator[str]:
    """A server in place of a head, for what a real one does only when it is broken."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer(context))
    service = grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"CheckAlive": handler})
    server.add_generic_rpc_handlers([service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def refuse(context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
    raise AssertionError("abort raises")


def test_a_head_that_wants_a_token_is_locked() -> None:
    with head(refuse) as address:
        assert knock(address) is Door.LOCKED


def test_the_right_token_opens_a_locked_head() -> None:
    def answer(context: grpc.ServicerContext) -> bytes:
        shown = dict(context.invocation_metadata()).get("authorization")
        return b"" if shown == "Bearer right" else refuse(context)

    with head(answer) as address:
        assert knock(address, token="right") is Door.OPEN
        assert knock(address, token="wrong") is Door.LOCKED


def test_a_head_that_answers_anyone_is_open() -> None:
    with head(lambda context: b"") as address:
        assert knock(address) is Door.OPEN
    assert knock(address, timeout_s=0.2) is Door.ABSENT


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_the_name_of_the_call_is_that_of_ray() -> None:
    # The cluster of the tests runs without a token; tests/jobs/test_submit.py knocks at one with it.
    import ray

    assert knock(ray.get_runtime_context().gcs_address) is Door.OPEN


def test_the_warning_stands_in_a_frame_and_says_what_to_do() -> None:
    first, *lines, last = security.open_cluster_warning("10.0.0.7:6379").splitlines()
    assert first == last == "!" * len(first)
    assert all(line.startswith("!! ") and len(line) <= len(first) for line in lines)
    text = " ".join(lines)
    assert "10.0.0.7:6379" in text
    assert "fix: start every node with RAY_AUTH_MODE=token" in text
