"""jobs/sweep.py before anything is started, and a decision as a configuration of jobs/train.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sweep as job
import train
from _cli import run_job

from asr_ray.settings import TrainSettings
from asr_ray.settings.sweep import SweepFileSettings
from asr_ray.sweep.records import winner_path
from asr_ray.sweep.space import load_sweep

CONFIG = Path(__file__).resolve().parents[2] / "configs/sweeps/demo.yaml"


def run(*arguments: str) -> int:
    return run_job(
        job.__doc__,
        schema=SweepFileSettings,
        act=job.act,
        load=load_sweep,
        rehearse=job.rehearse,
        argv=["--config", str(CONFIG), *arguments],
    )


def test_a_dry_run_lists_trials_and_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry-run", "--set", "sweep.num_trials=3") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[:5]] == [
        "baseline-uniform",
        "baseline-hours-0.5",
        "search-000",
        "search-001",
        "search-002",
    ]
    assert "h of audio" in shown[-2]
    assert run("--dry-run", "--json", "--set", "sweep.num_trials=3") == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == len(shown) - 2


def test_a_decision_is_a_configuration_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decision = tmp_path / "decision.json"
    winner_path(decision).write_text(
        "run_dir: long\ndata: {train: t, validation: v}\nmodel: {base: tiny}\n"
        "validation: {targets: [el-GR]}\noptim: {peak_lr: 0.5}\n"
    )
    arguments = ["--from-decision", str(decision), "--set", "max_steps=200", "--dry-run", "--json"]
    stand_ins = {"from-decision": winner_path}
    done = run_job(train.__doc__, schema=TrainSettings, act=train.act, argv=arguments, stand_ins=stand_ins)
    settings = json.loads(capsys.readouterr().out)
    assert (done, settings["optim"]["peak_lr"], settings["max_steps"]) == (0, 0.5, 200)
    absent = ["--from-decision", str(tmp_path / "absent/decision.json"), "--dry-run"]
    assert run_job(train.__doc__, schema=TrainSettings, act=train.act, argv=absent, stand_ins=stand_ins) == 2
