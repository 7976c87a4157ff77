"""What is proposed next, from what is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr_ray.sweep.records import Rung, TrialRecord
from asr_ray.sweep.searching.search import propose
from asr_ray.sweep.space import RATIOS, Sweep, load_sweep

RUN = """
data: {{train: t, validation: v, mix: {mix}}}
model: {{base: tiny}}
validation: {{targets: [el-GR]}}
optim: {{peak_lr: {{loguniform: [1.0e-4, 1.0e-2]}}, warmup_steps: {{uniform: [0, 50]}}}}
sweep: {{out: s, search: {search}, num_trials: 12}}
"""
ALPHA = "{alpha: {uniform: [0.0, 1.0]}}"
GROUPS = "{ratios: {simplex: {scarce: [bg-BG], rich: [el-GR], kept: [en-US]}}}"


def sweep_of(tmp_path: Path, *, mix: str = ALPHA, search: str = "optuna") -> Sweep:
    file = tmp_path / "sweep.yaml"
    file.write_text(RUN.format(mix=mix, search=search))
    return load_sweep(file)


def finished(name: str, values: dict[str, object], objective: float, *, excess: float = 0.0) -> TrialRecord:
    rung = Rung(step=10, audio_s=10.0, rates={}, objective=objective, excess=excess)
    return TrialRecord(
        name=name, stage="search", values=values, mix={}, seed=1, status="finished", rungs=(rung,)
    )


@pytest.mark.parametrize("search", ["random", "optuna"])
@pytest.mark.parametrize("mix", [ALPHA, GROUPS])
def test_proposals_lie_in_the_space_and_depend_on_what_is_known_alone(
    tmp_path: Path, search: str, mix: str
) -> None:
    sweep = sweep_of(tmp_path, mix=mix, search=search)
    records: dict[str, TrialRecord] = {}
    for number in range(12):
        values = dict(propose(sweep, records, number=number))
        assert values == propose(sweep, records, number=number)
        assert sweep.in_space(values) == values
        assert isinstance(values["optim.warmup_steps"], int)
        records[f"t{number}"] = finished(f"t{number}", values, objective=float(number % 5))
    assert len({record.values["optim.peak_lr"] for record in records.values()}) == 12


def test_tpe_goes_where_it_was_good_and_away_from_broken_guards(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    rng = np.random.default_rng(0)
    records = {}
    for number in range(40):
        values = dict(sweep.sample(rng))
        alpha = float(values["data.mix.alpha"])
        # Best at 0.3; what would be better still, beyond 0.6, breaks a guard.
        broken = alpha > 0.6
        worth = -5.0 if broken else (alpha - 0.3) ** 2
        records[f"t{number}"] = finished(f"t{number}", values, worth, excess=0.1 if broken else 0.0)
    proposed = [float(propose(sweep, records, number=number)["data.mix.alpha"]) for number in range(40, 60)]
    assert np.mean(np.abs(np.array(proposed) - 0.3) < 0.15) > 0.6
    assert max(proposed) < 0.9


def test_what_runs_failed_or_repeats_another_is_no_obstacle(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, mix=GROUPS)
    values = dict(sweep.sample(np.random.default_rng(1)))
    made = {"mix": {}, "seed": 1}
    records = {
        "runs": TrialRecord(name="runs", stage="search", values=values, status="running", **made),  # type: ignore[arg-type]
        "failed": TrialRecord(name="failed", stage="search", values=values, status="failed", **made),  # type: ignore[arg-type]
        "outside": finished("outside", {**values, "optim.peak_lr": 1.0}, -1.0),
        "stopped": TrialRecord(
            name="stopped",
            stage="search",
            values=values,
            status="stopped",
            rungs=finished("", values, 1.0).rungs,
            **made,  # type: ignore[arg-type]
        ),
    }
    proposed = propose(sweep, records, number=4)
    assert set(proposed) == {RATIOS, "optim.peak_lr", "optim.warmup_steps"}
    assert sum(proposed[RATIOS].values()) == pytest.approx(1.0)
