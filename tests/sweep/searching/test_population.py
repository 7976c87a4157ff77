"""A population over the mix: who goes on from whom, and that a lineage can be trained again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError
from asr_ray.sweep.records import Rung, TrialRecord
from asr_ray.sweep.searching.population import SCHEDULE, check_population, generation, num_generations
from asr_ray.sweep.space import Sweep, load_sweep

RUN = """
max_steps: 25
data:
  train: t
  validation: v
  mix: {alpha: {uniform: [0.0, 1.0]}, replay: {share: {uniform: [0.1, 0.5]}, locales: [en-US]}}
model: {base: tiny}
optim: {warmup_steps: 2}
validation: {targets: [el-GR, bg-BG], guards: [en-US], every_steps: 10}
sweep: {out: s, search: pbt, pbt: {population: 4, quantile: 0.25}}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    (tmp_path / "sweep.yaml").write_text(RUN)
    return load_sweep(tmp_path / "sweep.yaml")


def outcome(sweep: Sweep, number: int, worth: list[float | None], known: dict[str, TrialRecord]) -> None:
    """Write down what became of a generation; None failed."""
    for member, value in zip(generation(sweep, known, number=number), worth, strict=True):
        record = TrialRecord(name=member.name, stage="search", values=member.values, mix={}, seed=1)
        rung = Rung(step=member.until_step, audio_s=1.0, rates={}, objective=value or 0.0, excess=0.0)
        known[member.name] = (
            replace(record, status="failed") if value is None else replace(record, rungs=(rung,))
        )


def test_who_lags_goes_on_from_a_leader_with_a_mix_near_his(sweep: Sweep) -> None:
    assert num_generations(sweep) == 3
    known: dict[str, TrialRecord] = {}
    outcome(sweep, 0, [0.3, 0.1, 0.2, 0.9], known)
    first = generation(sweep, known, number=0)
    second = generation(sweep, known, number=1)
    assert [member.until_step for member in (first[0], second[0])] == [10, 20]
    assert [member.parent for member in second] == [first[n].name for n in (0, 1, 2, 1)]
    for own, before in zip(second[:3], first[:3], strict=True):
        assert own.values == before.values
    moved = second[3]
    assert moved.drawn != first[1].drawn
    # The lineage is that of the leader, and another mix from where it was taken over.
    assert {key: moved.values[key] for key in first[1].values} == first[1].values
    [change] = moved.values[SCHEDULE]
    assert change["from_step"] == 10
    assert change["alpha"] == pytest.approx(moved.drawn["data.mix.alpha"])
    assert change["replay"]["share"] == pytest.approx(moved.drawn["data.mix.replay.share"])
    settings = sweep.settings_of(moved.values, run_dir=Path("r"))
    assert [step for step, _ in settings.data.mix.stages()] == [0, 10]


def test_generations_are_the_same_whenever_they_are_asked_for(sweep: Sweep) -> None:
    known: dict[str, TrialRecord] = {}
    outcome(sweep, 0, [0.3, 0.1, 0.2, 0.9], known)
    outcome(sweep, 1, [0.3, 0.4, 0.2, 0.1], known)
    third = generation(sweep, known, number=2)
    assert third == generation(sweep, known, number=2)
    assert third[0].until_step == 25
    assert third[1].parent == "pbt-01-03"
    assert [change["from_step"] for change in third[1].values[SCHEDULE]] == [10, 20]


def test_who_failed_is_replaced_and_is_nobodys_leader(sweep: Sweep) -> None:
    known: dict[str, TrialRecord] = {}
    outcome(sweep, 0, [None, None, 0.2, 0.9], known)
    parents = [member.parent for member in generation(sweep, known, number=1)]
    assert parents[:2] == ["pbt-00-02", "pbt-00-02"]


def test_only_a_mix_can_change_during_a_run(sweep: Sweep, tmp_path: Path) -> None:
    check_population(sweep)
    (tmp_path / "more.yaml").write_text("base: sweep.yaml\noptim: {peak_lr: {choice: [0.1, 0.2]}}\n")
    with pytest.raises(ConfigError, match=r"optim\.peak_lr cannot"):
        check_population(load_sweep(tmp_path / "more.yaml"))
