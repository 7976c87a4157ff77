"""From made-up trials to decision.json, decision.md, winner.yaml and report.html."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_ray import config
from asr_ray.settings import TrainSettings
from asr_ray.sweep.deciding.conclude import Conclusion, conclude, policy_of
from asr_ray.sweep.deciding.proxy import design
from asr_ray.sweep.mixes import hours_by_locale, planned_mix, total_variation
from asr_ray.sweep.pages.files import write_conclusion
from asr_ray.sweep.pages.report import render_sweep
from asr_ray.sweep.records import Stage, TrialRecord
from asr_ray.sweep.space import RATIOS, Sweep
from asr_ray.testing.sweeps import Law, Speech, Surface, base_counts, run_trial
from tests.sweep.conftest import ALPHA, GROUPS, Load

SECONDS = {("el-GR", "a"): 300.0, ("bg-BG", "a"): 3600.0, ("en-US", "a"): 3600.0, ("es-ES", "a"): 1800.0}
SURFACE = Surface(
    laws={
        "el-GR": Law(base=0.9, exponent=0.35),
        "bg-BG": Law(base=0.85, exponent=0.3),
        "en-US": Law(base=0.12, forgetting=0.25),
        "es-ES": Law(base=0.15, forgetting=0.15),
    },
    best_lr=1e-3,
)
SPEECH = Speech(utterances=60)


def concluded(
    sweep: Sweep, plan: dict[str, tuple[Stage, Any]], *, folder: Path, seeds: int = 1
) -> Conclusion:
    sweep = sweep.with_hours(hours_by_locale(SECONDS))
    settings = sweep.settings_of(sweep.configured, run_dir=folder)
    records: dict[str, TrialRecord] = {}
    for name, (stage, values) in plan.items():
        for seed in range(1, seeds + 1):
            own = name if seed == 1 else f"{name}-seed{seed}"
            record = TrialRecord(
                name=own,
                stage=stage if seed == 1 else "seed",
                values=values,
                mix=planned_mix(sweep.settings_of(values, run_dir=folder), SECONDS),
                seed=seed,
                repeats="" if seed == 1 else name,
            )
            records[own] = run_trial(
                record,
                surface=SURFACE,
                speech=SPEECH,
                policy=policy_of(settings.validation),
                total_s=20_000.0,
                folder=folder / "counts",
            )
    lost = replace(
        records[next(iter(plan))], name="lost", status="failed", reason="<worker> & died", rungs=()
    )
    return conclude(
        sweep,
        records={**records, "lost": lost},
        base_counts=base_counts(SURFACE, speech=SPEECH),
        seconds_by_key=SECONDS,
    )


@pytest.fixture
def by_keys(load: Load, tmp_path: Path) -> Conclusion:
    sweep = load(ALPHA)
    rng = np.random.default_rng(3)
    plan: dict[str, tuple[Stage, Any]] = {
        f"baseline-{name}": ("baseline", values) for name, values in sweep.baselines().items()
    }
    plan |= {f"search-{index:03d}": ("search", sweep.sample(rng)) for index in range(5)}
    return concluded(sweep, plan, folder=tmp_path, seeds=2)


@pytest.fixture
def by_groups(load: Load, tmp_path: Path) -> Conclusion:
    sweep = load(GROUPS)
    assert sweep.simplex
    plan: dict[str, tuple[Stage, Any]] = {
        f"proxy-{name}": ("proxy", {RATIOS: shares}) for name, shares in design(sweep.simplex).items()
    }
    known = sweep.with_hours(hours_by_locale(SECONDS))
    plan |= {f"baseline-{name}": ("baseline", values) for name, values in known.baselines().items()}
    return concluded(sweep, plan, folder=tmp_path)


def test_a_sweep_leaves_a_decision_that_can_be_trained_on(by_keys: Conclusion, tmp_path: Path) -> None:
    write_conclusion(tmp_path / "out", by_keys)
    tree = json.loads((tmp_path / "out" / "decision.json").read_text(encoding="utf-8"))
    assert tree["winner"] in by_keys.records
    assert [each["name"] for each in tree["candidates"]] == [
        each.name for each in by_keys.decision.candidates
    ]
    assert "--from-decision runs/sweep/decision.json" in tree["command"]
    winner = config.load(tmp_path / "out" / "winner.yaml", schema=TrainSettings).settings
    values = by_keys.records[tree["winner"]].values
    assert winner.optim.peak_lr == values["optim.peak_lr"]
    assert winner.model_dump(mode="json") == tree["settings"]
    assert {each["locale"] for each in tree["advice"]} == {"el-GR", "bg-BG"}


def test_the_scarce_target_is_where_to_collect(by_groups: Conclusion) -> None:
    first, second = by_groups.advice
    assert first.locale == "el-GR"
    assert first.more_hours.change < second.more_hours.change
    # It is read 22 times in a run, the other target twice.
    assert first.more_hours.is_clear


def test_the_whole_is_the_same_whatever_the_order_of_the_records(by_groups: Conclusion) -> None:
    again = conclude(
        by_groups.sweep,
        records=dict(reversed(by_groups.records.items())),
        base_counts=base_counts(SURFACE, speech=SPEECH),
        seconds_by_key=SECONDS,
    )
    assert again.to_json() == by_groups.to_json()


@pytest.mark.parametrize("name", ["by_keys", "by_groups"])
def test_the_report_is_whole_and_loads_nothing(name: str, request: pytest.FixtureRequest) -> None:
    conclusion: Conclusion = request.getfixturevalue(name)
    html = render_sweep(conclusion)
    for heading in ("Decision", "Where to collect data next", "What was traded for what", "Trials"):
        assert f"<h2>{heading}</h2>" in html
    for heading in ("Error rate against share", "Learning curves", "Values of every trial"):
        assert f"<h2>{heading}</h2>" in html
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", html)
    assert "&lt;worker&gt; &amp; died" in html and "<worker>" not in html
    assert all(each.name in html for each in conclusion.decision.candidates)


def test_a_report_of_one_trial_without_guards_is_drawn(load: Load, tmp_path: Path) -> None:
    sweep = load({"optim": {"peak_lr": {"loguniform": [1e-4, 1e-2]}}}, sets=["validation.guards=[]"])
    conclusion = concluded(sweep, {"baseline-configured": ("baseline", sweep.configured)}, folder=tmp_path)
    html = render_sweep(conclusion)
    assert "What was traded for what" not in html
    assert "Error rate against share" not in html
    assert "<title>Sweep runs/sweep: baseline-configured</title>" in html


def test_the_log_entry_has_the_table_and_the_command(by_groups: Conclusion, tmp_path: Path) -> None:
    write_conclusion(tmp_path / "out", by_groups)
    text = (tmp_path / "out" / "decision.md").read_text(encoding="utf-8")
    assert "| trial | greek | bulgarian | kept |" in text
    assert "**chosen**" in text
    assert by_groups.decision.command in text


def test_total_variation_is_what_would_have_to_move() -> None:
    assert total_variation({"a": 1.0}, {"b": 1.0}) == 1
    assert total_variation({"a": 0.5, "b": 0.5}, {"a": 0.3, "b": 0.7}) == pytest.approx(0.2)


def test_made_up_trials_pair_by_utterance() -> None:
    # What the intervals of a sweep rely on: one draw makes an utterance hard for all.
    first, second = (SPEECH.counts({"el-GR": 0.3}, name=name)["el-GR"].errors for name in "ab")
    assert np.corrcoef(first, second)[0, 1] > 0.4
