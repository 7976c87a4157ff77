"""What `--dry-run` says is what is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_ray.sweep.forecast import forecast, lines
from asr_ray.sweep.searching.search import propose
from asr_ray.sweep.space import Sweep, load_sweep

RUN = """
max_steps: 100
data: {train: t, validation: v, batch_s: 36.0, mix: {alpha: {uniform: [0.0, 1.0]}}}
model: {base: tiny}
validation: {targets: [el-GR], every_steps: 40}
resources: {num_workers: 2}
optim: {warmup_steps: 5}
sweep: {out: s, num_trials: 5, trial_price_per_hour: 3.0, finalists: {count: 1, seeds: 3}}
"""


def sweep_of(tmp_path: Path, *sets: str) -> Sweep:
    (tmp_path / "sweep.yaml").write_text(RUN)
    return load_sweep(tmp_path / "sweep.yaml", sets=sets)


def test_trials_audio_time_and_price_add_up(tmp_path: Path) -> None:
    found = forecast(sweep_of(tmp_path, "sweep.search=random"), step_s=1.8)
    stages = [each.stage for each in found.trials]
    # Two baselines, five trials, and three finalists with two seeds more.
    assert [stages.count(stage) for stage in ("baseline", "search", "seed")] == [2, 5, 6]
    assert found.audio_hours == pytest.approx(13 * 100 * 2 * 36 / 3600)
    assert found.trial_hours == pytest.approx(13 * 100 * 1.8 / 3600)
    assert found.price == pytest.approx(3 * 13 * 100 * 1.8 / 3600)
    assert len(list(lines(found, keys=["data.mix.alpha"]))) == 15


def test_values_are_those_of_the_run_where_they_are_known(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "sweep.search=random")
    searched = [each for each in forecast(sweep).trials if each.stage == "search"]
    assert [each.values for each in searched] == [propose(sweep, {}, number=n) for n in range(5)]
    unknown = forecast(sweep_of(tmp_path))
    assert {each.values for each in unknown.trials if each.stage == "search"} == {None}
    assert unknown.trial_hours is None
    assert unknown.price is None


def test_segments_of_a_population_make_whole_runs(tmp_path: Path) -> None:
    sets = (
        "sweep.search=pbt",
        "sweep.pbt={population: 3}",
        "sweep.baselines=false",
        "sweep.finalists=null",
    )
    found = forecast(sweep_of(tmp_path, *sets))
    assert [each.steps for each in found.trials] == [40] * 3 + [40] * 3 + [20] * 3
    assert found.audio_hours == pytest.approx(3 * 100 * 2 * 36 / 3600)


def test_a_proxy_design_has_two_runs_a_group_and_two_more(tmp_path: Path) -> None:
    groups = "data.mix.ratios={simplex: {scarce: [bg-BG], rich: [el-GR]}}"
    sets = ("data.mix.alpha=0.5", groups, "sweep.search=proxy", "sweep.baselines=false")
    found = forecast(sweep_of(tmp_path, *sets))
    assert [each.stage for each in found.trials if each.stage != "seed"] == ["proxy"] * 5 + ["check"]
