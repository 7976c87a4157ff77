"""Who wins: guards, ties, seeds; the same whatever the order of the records."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import DataError
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.sweep.deciding.candidates import Decision, Scores
from asr_ray.sweep.deciding.counts import counts_of, rates_of, resampled_objectives
from asr_ray.sweep.deciding.decision import decide, fidelity_of
from asr_ray.sweep.records import Rung, TrialRecord
from asr_ray.testing.sweeps import Speech

POLICY = GuardPolicy(targets=("el-GR",), guards=("en-US",), max_guard_loss=0.05)
BASE = {"el-GR": 0.5, "en-US": 0.1}
DATA = {"el-GR": 0.1, "en-US": 0.9}
SPEECH = Speech(utterances=60)


def trial(
    name: str, greek: float, *, english: float = 0.1, share: float = 0.5, **changes: Any
) -> TrialRecord:
    objective = float(np.log(greek / BASE["el-GR"]))
    rung = Rung(
        step=100,
        audio_s=1000.0,
        rates={"el-GR": greek, "en-US": english},
        objective=objective,
        excess=max(0.0, english - 0.15),
    )
    record = TrialRecord(
        name=name,
        stage="search",
        values={"data.mix.alpha": share},
        mix={"el-GR/a": share, "en-US/a": 1 - share},
        seed=1,
        status="finished",
        rungs=(rung,),
        consumed_s={"el-GR/a": 1000 * share, "en-US/a": 1000 - 1000 * share},
    )
    return replace(record, **changes)


def decided(records: Sequence[TrialRecord], *, counted: bool = False) -> Decision:
    scores = Scores(base=BASE)
    if counted:
        scores = Scores(
            base=BASE,
            base_counts=SPEECH.counts(BASE, name="base"),
            counts={
                each.name: SPEECH.counts(each.rungs[-1].rates, name=each.name)
                for each in records
                if each.rungs
            },
        )
    return decide(records, scores=scores, policy=POLICY, data=DATA, seed=1, replications=400)


trials = st.lists(
    st.tuples(st.floats(0.05, 0.9), st.floats(0.05, 0.3), st.floats(0.05, 0.95)), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=15)
@given(trials, st.integers(0, 100), st.booleans())
def test_the_order_of_records_decides_nothing(
    found: list[tuple[float, float, float]], seed: int, counted: bool
) -> None:
    records = [
        trial(f"t{index}", greek, english=english, share=share)
        for index, (greek, english, share) in enumerate(found)
    ]
    shuffled = random.Random(seed).sample(records, len(records))
    assert decided(records, counted=counted) == decided(shuffled, counted=counted)


@settings(deadline=None, max_examples=30)
@given(trials)
def test_no_broken_guard_wins_while_another_trial_keeps_all(found: list[tuple[float, float, float]]) -> None:
    records = [
        trial(f"t{index}", greek, english=english, share=share)
        for index, (greek, english, share) in enumerate(found)
    ]
    decision = decided(records)
    holds = [each for each in records if each.rungs[-1].rates["en-US"] - 0.1 - 0.05 <= 0]
    if holds:
        assert decision.winner in {each.name for each in holds}
        best = min(each.rungs[-1].objective for each in holds)
        assert decision.winning.objective == pytest.approx(best, rel=1e-12)
    else:
        assert decision.winning.excess == min(each.excess for each in decision.candidates)
        assert "No trial keeps all guards" in decision.reason


def test_a_tie_goes_to_the_mix_nearest_the_data() -> None:
    records = [
        trial("bold", 0.200, share=0.9),
        trial("modest", 0.202, share=0.2),
        trial("far", 0.400, share=0.1),
    ]
    decision = decided(records, counted=True)
    assert decision.winner == "modest"
    assert {each.name for each in decision.candidates if each.is_tied} == {"bold", "modest"}
    assert decision.candidates[0].name == "bold"
    assert "nearest to the data" in decision.reason or "nearest to the" in decision.reason
    # A mix that is as near as the data itself wins no tie that is none.
    assert decision.candidates[-1].name == "far"


def test_without_counts_only_equals_are_tied() -> None:
    records = [trial("a", 0.2, share=0.9), trial("b", 0.2, share=0.2), trial("c", 0.20001, share=0.1)]
    assert decided(records).winner == "b"


def test_where_trials_were_repeated_a_single_lucky_run_cannot_win() -> None:
    records = [
        trial("lucky", 0.15),
        trial("steady", 0.2),
        trial("steady-2", 0.21, repeats="steady", stage="seed", seed=2),
        trial("baseline-uniform", 0.3, stage="baseline"),
        trial("baseline-uniform-2", 0.31, repeats="baseline-uniform", stage="seed", seed=2),
    ]
    decision = decided(records, counted=True)
    assert decision.winner == "steady"
    assert decision.winning.runs == ("steady", "steady-2")
    assert decision.winning.rates["el-GR"] == pytest.approx(0.205)
    assert decision.seed_sd is not None and decision.seed_sd > 0
    assert [each.verdict for each in decision.comparisons] == ["better"]


def test_seeds_that_differ_widen_the_intervals() -> None:
    def width(other: float) -> float:
        records = [trial("a", 0.2), trial("a-2", other, repeats="a", stage="seed", seed=2), trial("b", 0.5)]
        interval = decided(records, counted=True).winning.ci95
        assert interval
        return interval[1] - interval[0]

    assert width(0.35) > width(0.2)


def test_the_test_set_decides_for_those_that_were_scored_on_it() -> None:
    records = [
        trial("overfitted", 0.1, test_rates={"el-GR": 0.4, "en-US": 0.1}),
        trial("sound", 0.2, test_rates={"el-GR": 0.3, "en-US": 0.1}),
        trial("other", 0.05),
    ]
    scores = Scores(base=BASE, test_base={"el-GR": 0.6, "en-US": 0.1})
    decision = decide(records, scores=scores, policy=POLICY, data=DATA, seed=1)
    assert (decision.winner, decision.judged) == ("sound", "test")
    assert decision.winning.objective == pytest.approx(np.log(0.5))


def test_what_did_not_end_is_left_out_and_spoken_of() -> None:
    records = [
        trial("a", 0.2),
        trial("b", 0.1, status="stopped"),
        trial("c", 0.1, status="running"),
        trial("d", 0.1, status="failed", reason="a worker died"),
    ]
    decision = decided(records)
    assert [each.name for each in decision.candidates] == ["a"]
    assert any("not ended yet, among them c" in each for each in decision.warnings)
    assert any("d" in each and "failed" in each for each in decision.warnings)


def test_unequal_audio_is_spoken_of() -> None:
    records = [trial("a", 0.2), trial("b", 0.3, consumed_s={"el-GR/a": 500.0})]
    assert any("equal seconds of audio" in each for each in decided(records).warnings)


def test_nothing_to_decide_is_an_error() -> None:
    with pytest.raises(DataError, match="no trial of the sweep has ended"):
        decided([trial("a", 0.2, status="running")])


def test_trials_on_other_utterances_are_refused() -> None:
    scores = Scores(
        base=BASE,
        base_counts=SPEECH.counts(BASE, name="base"),
        counts={"a": Speech(utterances=30).counts(BASE, name="a")},
    )
    with pytest.raises(DataError, match="other utterances of el-GR"):
        decide([trial("a", 0.2)], scores=scores, policy=POLICY, data=DATA, seed=1)


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    true = np.log(0.2 / 0.25)
    held = 0
    for seed in range(60):
        speech = Speech(utterances=80, seed=seed)
        first, second = (
            speech.counts({"el-GR": rate}, name=name) for name, rate in (("a", 0.2), ("b", 0.25))
        )
        base = speech.counts({"el-GR": 0.5}, name="base")
        drawn = resampled_objectives(
            {"a": first, "b": second}, base=base, targets=["el-GR"], replications=300, seed=seed
        )
        low, high = np.percentile(drawn["a"] - drawn["b"], [2.5, 97.5])
        held += low <= true <= high
    assert 51 <= held <= 60


def test_counts_do_not_depend_on_the_order_of_their_lines() -> None:
    rows = SPEECH.rows(BASE, name="a")
    first, second = counts_of(rows), counts_of(rows[::-1])
    assert first["el-GR"].ids == second["el-GR"].ids
    assert rates_of(first) == rates_of(second)


def test_rungs_that_rank_as_the_end_does_correlate() -> None:
    def climbing(name: str, early: float, late: float) -> TrialRecord:
        rung = trial(name, 0.2).rungs[0]
        return replace(
            trial(name, 0.2),
            rungs=(replace(rung, step=50, objective=early), replace(rung, objective=late)),
        )

    alike = [climbing(f"t{index}", index, index**3) for index in range(5)]
    against = [climbing(f"t{index}", -index, index) for index in range(5)]
    assert [each.spearman for each in fidelity_of(alike)] == [pytest.approx(1)]
    assert [each.spearman for each in fidelity_of(against)] == [pytest.approx(-1)]
    assert fidelity_of(alike[:3]) == ()
