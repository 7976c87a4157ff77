"""Actors that die: where nodes can be lost they come back, on one machine they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.pool import _max_restarts, decode_pieces
from asr_ray.evaluate.testsets import TestSet
from asr_ray.evaluate.work import Piece, Task
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings
from asr_ray.testing.prepared import write_prepared


def test_only_a_cluster_restarts_without_being_asked() -> None:
    assert (_max_restarts(num_nodes=1), _max_restarts(num_nodes=2) > 1) == (0, True)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_outcomes_say_which_row_and_task_they_are_of(tmp_path: Path, micro_nemo: Path) -> None:
    """Two actors, pieces that need different tasks; each row comes back under its own id."""
    catalog = write_prepared(
        tmp_path / "test", {("el-GR", "noise"): 6}, tokenizer=NemoTokenizer.from_nemo(micro_nemo)
    )
    short, long = (
        Task("base", Condition(data="test", att_context_size=(56, right), mode="offline", prompt="auto"))
        for right in (0, 13)
    )
    work = [
        Piece(data="test", rows=(4, 1), tasks=(short, long)),
        Piece(data="test", rows=(0, 5), tasks=(long,)),
    ]
    settings = EvaluateSettings(
        models={"base": str(micro_nemo)}, data={"test": tmp_path / "test"}, out=tmp_path, num_actors=2
    )
    test_sets = {
        "test": TestSet(root=tmp_path / "test", catalog=catalog, rows=np.arange(6), ids=[], locales=[])
    }
    outcomes = list(
        decode_pieces(work, test_sets=test_sets, bases={"base": str(micro_nemo)}, settings=settings)
    )
    found = {
        (outcome.task, row): hypothesis.id for outcome in outcomes for row, hypothesis, _ in outcome.rows
    }
    wanted = [(short, 4), (short, 1), (long, 4), (long, 1), (long, 0), (long, 5)]
    assert found == {(task, row): f"el-GR-noise-{row:04d}" for task, row in wanted}
    assert all(decode_s > 0 for outcome in outcomes for _, _, decode_s in outcome.rows)
