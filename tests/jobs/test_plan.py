"""What jobs/plan.py tells before anything is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asr_ray.model.base import resolve_base
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.testing.prepared import write_prepared

JOB = Path(__file__).resolve().parents[2] / "jobs" / "plan.py"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for two locales of noise and a mix that changes."""
    root = tmp_path_factory.mktemp("prepared")
    tokenizer = NemoTokenizer.from_nemo(resolve_base("tiny"))
    write_prepared(root, {("el-GR", "radio"): 40, ("en-US", "books"): 40}, tokenizer=tokenizer)
    given = (
        f"data.train={root}",
        f"data.validation={root}",
        f"run_dir={root / 'run'}",
        "model.base=tiny",
        "validation.targets=[el-GR]",
        "data.batch_s=3",
        "data.window_utterances=16",
        "max_steps=60",
        "optim.warmup_steps=1",
        "data.mix.ratios={el-GR: 1}",
        "data.mix.schedule=[{from_step: 45, ratios: {en-US/books: 1}}]",
    )
    return [part for assignment in given for part in ("--set", assignment)]


def shown(sets: list[str], *arguments: str) -> str:
    command = [sys.executable, str(JOB), *sets, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_it_shows_schedule_passes_and_warnings(sets: list[str]) -> None:
    tree = json.loads(shown(sets, "--json"))
    first, second = tree["mixes"]
    assert (first["shares"]["el-GR/radio"], second["shares"]["en-US/books"]) == (1.0, 1.0)
    assert second["first_step"] >= 45
    assert first["seconds"]["en-US/books"] == second["seconds"]["el-GR/radio"] == 0
    assert tree["passes"]["en-US/books"] > 0
    assert set(tree["largest_batch"]) == {"padded_s", "utterances", "lattice_cells"}
    # Neither mix uses both sources.
    assert [warning for warning in tree["warnings"] if "does not use it" in warning]


def test_the_table_has_a_column_for_each_mix(sets: list[str]) -> None:
    text = shown(sets)
    assert "from step" in text
    assert "warning: en-US/books is prepared but the mix does not use it" in text
    assert "step efficiency" in text
    # By default costs have no unit.
    assert "s a step" not in text


def test_costs_that_were_measured_tell_the_time(sets: list[str]) -> None:
    cost = "data.cost={a: 2.0, b: 0.0, c: 0.0, d: 1.0, device: Abacus}"
    tree = json.loads(shown([*sets, "--set", cost], "--json"))
    assert tree["step_cost"] > 1.0
    assert f"{tree['step_cost']:.2f} s a step on Abacus" in shown([*sets, "--set", cost])
