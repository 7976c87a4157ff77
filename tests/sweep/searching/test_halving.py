"""Which trials go on at a rung."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from asr_ray.settings.sweep import AshaSettings
from asr_ray.sweep.records import Rung, TrialRecord
from asr_ray.sweep.searching.halving import leaders, reason_to_stop, rung_at

ASHA = AshaSettings(first_rung_s=100.0, reduction_factor=3.0)


def rung(objective: float, *, audio_s: float = 100.0, excess: float = 0.0) -> Rung:
    return Rung(step=int(audio_s), audio_s=audio_s, rates={}, objective=objective, excess=excess)


def trial(name: str, *rungs: Rung, stage: str = "search") -> TrialRecord:
    return TrialRecord(name=name, stage=stage, values={}, mix={}, seed=1, status="running", rungs=rungs)  # type: ignore[arg-type]


def arrive(*trials: TrialRecord) -> list[str]:
    """Let trials reach a rung one after the other; return the names of those that go on."""
    records: dict[str, TrialRecord] = {}
    going = []
    for each in trials:
        records[each.name] = each
        if reason_to_stop(each.name, records, asha=ASHA, total_s=1000.0) is None:
            going.append(each.name)
    return going


@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=30, unique=True))
def test_the_best_so_far_always_goes_on_and_no_more_than_their_part(objectives: list[float]) -> None:
    trials = [trial(f"t{index}", rung(value)) for index, value in enumerate(objectives)]
    going = arrive(*trials)
    best = objectives[0]
    for index, value in enumerate(objectives):
        best = min(best, value)
        if value == best:
            assert f"t{index}" in going
    # The last to arrive was compared with all of them.
    place = sorted(objectives).index(objectives[-1])
    assert (f"t{len(objectives) - 1}" in going) == (place < -(-len(objectives) // 3))


def test_a_broken_guard_loses_against_any_that_holds() -> None:
    falling = [trial("a", rung(0.5)), trial("b", rung(0.4)), trial("c", rung(0.3))]
    assert arrive(*falling, trial("d", rung(-2.0, excess=0.01))) == ["a", "b", "c"]


def test_baselines_are_rivals_but_never_stopped() -> None:
    good, bad = trial("good", rung(-1.0), stage="baseline"), trial("bad", rung(1.0), stage="baseline")
    assert arrive(good, bad, trial("middle", rung(0.0)), trial("late", rung(0.5))) == ["good", "bad"]
    seeds = [trial(f"seed{n}", rung(-2.0), stage="seed") for n in range(5)]
    assert arrive(*seeds, trial("only", rung(0.0)))[-1] == "only"


def test_a_rung_is_judged_once_and_the_end_of_a_run_is_none() -> None:
    ahead = {f"t{n}": trial(f"t{n}", rung(-1.0), rung(-1.0, audio_s=300.0)) for n in range(3)}
    slow = trial("slow", rung(0.0, audio_s=150.0))
    assert reason_to_stop("slow", ahead | {"slow": slow}, asha=ASHA, total_s=1000.0)
    # Between two rungs nothing is asked again.
    later = replace(slow, rungs=(*slow.rungs, rung(0.0, audio_s=250.0)))
    assert reason_to_stop("slow", ahead | {"slow": later}, asha=ASHA, total_s=1000.0) is None
    second = replace(slow, rungs=(*slow.rungs, rung(0.0, audio_s=350.0)))
    assert reason_to_stop("slow", ahead | {"slow": second}, asha=ASHA, total_s=1000.0)
    assert reason_to_stop("slow", ahead | {"slow": second}, asha=ASHA, total_s=300.0) is None
    assert reason_to_stop("none", {"none": trial("none")}, asha=ASHA, total_s=300.0) is None
    assert rung_at(slow.rungs, 200.0) is None


def test_leaders_were_trained_to_the_end() -> None:
    records = {
        name: replace(trial(name, rung(value)), status=status, stage=stage)  # type: ignore[arg-type]
        for name, value, status, stage in (
            ("best", -1.0, "finished", "search"),
            ("stopped", -2.0, "stopped", "search"),
            ("seed", -3.0, "finished", "seed"),
            ("base", -0.5, "finished", "baseline"),
        )
    }
    assert leaders(records, count=5) == ["best", "base"]
    assert leaders(records, count=1) == ["best"]
    assert leaders(records, count=5, but=["baseline"]) == ["best"]
