"""The surface of every job: the same four flags, help at once, refusal before anything slow."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOBS = sorted(path for path in (ROOT / "jobs").glob("*.py") if not path.stem.startswith("_"))
HEAVY = ("torch", "nemo", "ray", "numba", "transformers")
FLAGS = {"--help", "--config", "--set", "--json", "--dry-run"}
SHORTCUTS = {"evaluate": {"--compare": "compare.baseline"}}
"""Flags of one job, and the key that each sets."""

STAND_INS = {"train": {"--from-decision"}}
"""Flags of one job that take the place of `--config`."""

EXAMPLES = {
    "calibrate": "configs/runs/demo.yaml",
    "check_data": "configs/corpora/example.yaml",
    "demo": None,
    "doctor": None,
    "evaluate": "configs/evaluation/example.yaml",
    "export": "configs/exports/example.yaml",
    "plan": "configs/runs/demo.yaml",
    "prepare": "configs/corpora/example.yaml",
    "sweep": "configs/sweeps/demo.yaml",
    "train": "configs/runs/demo.yaml",
}
"""A configuration that each job accepts; None where it needs no file."""

every_job = pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)


def run(job: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a job as `python jobs/x.py` would, in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(job), *arguments])
    # A job puts the checkout on the path, which is not to outlive the test.
    monkeypatch.setattr(sys, "path", [str(job.parent), *sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(job), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def config_of(job: Path) -> list[str]:
    example = EXAMPLES[job.stem]
    return ["--config", str(ROOT / example)] if example else []


def test_every_job_has_an_example() -> None:
    assert {job.stem for job in JOBS} == set(EXAMPLES)


@every_job
def test_help_imports_nothing_heavy(job: Path, tmp_path: Path) -> None:
    code = (
        "import atexit, runpy, sys\n"
        f"sys.argv = [{str(job)!r}, '--help']; sys.path.insert(0, {str(job.parent)!r})\n"
        f"atexit.register(lambda: print('heavy:', *sorted(set({HEAVY!r}) & set(sys.modules))))\n"
        f"runpy.run_path({str(job)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize("value", ["old/metrics.json", "it's: [odd]"])
def test_a_shortcut_sets_its_key_to_the_very_text(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for job, flags in SHORTCUTS.items():
        for flag, key in flags.items():
            arguments = [*config_of(ROOT / f"jobs/{job}.py"), "--dry-run", "--json", flag, value]
            assert run(ROOT / f"jobs/{job}.py", *arguments, monkeypatch=monkeypatch) == 0
            found = json.loads(capsys.readouterr().out)
            for part in key.split("."):
                found = found[part]
            assert found == value


@every_job
def test_help_shows_an_example_and_exactly_the_common_flags(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(job, "--help", monkeypatch=monkeypatch) == 0

    shown = capsys.readouterr().out
    options = shown.partition("options:")[2]
    assert set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", options, re.MULTILINE)) == FLAGS | {
        *SHORTCUTS.get(job.stem, {}),
        *STAND_INS.get(job.stem, ()),
    }
    assert f"python jobs/{job.name}" in shown


@every_job
def test_dry_run_shows_each_value_with_its_origin(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(job, *config_of(job), "--dry-run", monkeypatch=monkeypatch) == 0

    lines = capsys.readouterr().out.splitlines()
    if job.stem == "sweep":
        pytest.skip("shows its trials; see test_sweep.py")
    origins = {line.rpartition("  # ")[2] for line in lines}
    assert all(re.fullmatch(r"[\w.-]+ = .+  # .+", line) for line in lines)
    assert {"default", *config_of(job)[1:]} & origins
    assert origins <= {"default", "--set", *map(str, (ROOT / "configs").rglob("*.yaml"))} | {
        str(ROOT / "configs/runs/../train.yaml")
    }


@every_job
def test_dry_run_in_json_is_one_object(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(job, *config_of(job), "--dry-run", "--json", monkeypatch=monkeypatch) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


@every_job
def test_an_unknown_key_ends_with_2_and_names_the_nearest(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = {"plan": "run_dri", "sweep": "run_dri", "train": "run_dri", "doctor": "storag"}.get(
        job.stem, "outt"
    )
    assert run(job, *config_of(job), "--set", f"{key}=x", monkeypatch=monkeypatch) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: --set {key}=x: unknown key {key}\n  fix: did you mean" in captured.err


@every_job
def test_an_absent_configuration_ends_with_2(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(job, "--config", "absent.yaml", monkeypatch=monkeypatch) == 2
    assert "absent.yaml: no such configuration file" in capsys.readouterr().err
