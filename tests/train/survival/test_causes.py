"""Of all that the ranks of a failed run report, the cause is told and not what followed from it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train import WorkerGroupError

from asr_ray.errors import DataError, EnvironmentFault, TrainingError
from asr_ray.train.survival.causes import failure_of, root_cause

RUN = Path("/runs/a")
CAUSES: dict[str, Exception] = {
    "ours": EnvironmentFault("disk is full", fix="make room"),
    "bug": ValueError("no such thing"),
    "death": ActorDiedError(),
    "gloo": RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:51512"),
}


@pytest.mark.parametrize("nearer", range(4))
@pytest.mark.parametrize("order", [1, -1])
def test_the_nearest_to_the_root_is_chosen_whatever_the_order(nearer: int, order: int) -> None:
    names = list(CAUSES)
    for other in range(nearer, 4):
        pair = [CAUSES[names[nearer]], CAUSES[names[other]]][::order]
        rank, cause = root_cause(WorkerGroupError("", dict(enumerate(pair))))
        assert cause is CAUSES[names[nearer]]
        assert pair[rank or 0] is cause


def test_an_error_of_ours_keeps_its_exit_code_and_its_fix() -> None:
    failed = failure_of(WorkerGroupError("", {0: CAUSES["gloo"], 1: CAUSES["ours"]}), run_dir=RUN)
    assert isinstance(failed, EnvironmentFault)
    assert failed.exit_code == 4
    assert failed.message == "/runs/a: training failed: rank 1: disk is full"
    assert failed.fix == "make room; the same command resumes from the last checkpoint"


def test_an_error_of_ours_is_found_inside_the_wrappers_of_ray() -> None:
    original = DataError("shard is gone", fix="put it back")
    wrapped = WorkerGroupError("", {3: RayTaskError("read", "Traceback ...\nDataError: shard", original)})
    assert failure_of(wrapped, run_dir=RUN).message == "/runs/a: training failed: rank 3: shard is gone"
    carried = RuntimeError("outer")
    carried._base_exc = original  # type: ignore[attr-defined]
    assert failure_of(WorkerGroupError("", {3: carried}), run_dir=RUN).exit_code == 3


def test_a_death_is_told_in_words_and_by_its_hang_if_it_had_one() -> None:
    died = WorkerGroupError("", {0: CAUSES["gloo"], 1: CAUSES["death"]})
    assert "rank 1: its process died (killed, out of memory, or its node was lost)" in str(
        failure_of(died, run_dir=RUN)
    )
    hung = failure_of(died, run_dir=RUN, hangs=["rank 1 (process 9 on b) hung at step 5, computing"])
    assert isinstance(hung, TrainingError)
    assert hung.message == "/runs/a: training failed: rank 1 (process 9 on b) hung at step 5, computing"
    assert "resources.hang_timeout_s" in hung.fix
    bug = failure_of(WorkerGroupError("", {0: CAUSES["bug"]}), run_dir=RUN, hangs=["rank 1 hung"])
    assert bug.message.endswith("rank 0: ValueError: no such thing")


@pytest.mark.parametrize("error", [RuntimeError(), ValueError("a\nb\n\n")])
def test_any_error_has_a_line(error: Exception) -> None:
    failed = failure_of(error, run_dir=RUN)
    assert failed.message.endswith("RuntimeError" if not error.args else "ValueError: b")


def test_every_pair_has_one_cause() -> None:
    for first, second in itertools.permutations(CAUSES.values(), 2):
        assert root_cause(WorkerGroupError("", {0: first, 1: second}))[1] in (first, second)
