"""One number for "better": what it is, and what a broken guard does to it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.evaluate.objective import GuardPolicy, Judgement, judge

BASE = {"el-GR": 0.8, "bg-BG": 0.4, "en-US": 0.10, "es-ES": 0.20}
POLICY = GuardPolicy(targets=("el-GR", "bg-BG"), guards=("en-US", "es-ES"), max_guard_loss=0.05)
rates = st.fixed_dictionaries({tag: st.floats(0.0, 2.0) for tag in BASE})


def judged(**changes: float) -> Judgement:
    """Judge the base's rates but for `changes`, keys written `el_GR`."""
    return judge(
        BASE | {key.replace("_", "-"): rate for key, rate in changes.items()}, base=BASE, policy=POLICY
    )


def test_a_value_by_hand() -> None:
    """Greek halved, Bulgarian quartered: (log 1/2 + log 1/4) / 2 = -1.5 log 2."""
    assert judged(el_GR=0.4, bg_BG=0.1).objective == pytest.approx(-1.5 * math.log(2))


def test_the_base_is_worth_nothing() -> None:
    assert judged() == Judgement(objective=0.0, excess=0.0, broken=())


@pytest.mark.parametrize(
    ("changes", "excess", "broken"),
    [
        ({"en_US": 0.14}, 0.0, ()),
        ({"en_US": 0.05}, 0.0, ()),
        ({"en_US": 0.17}, 0.02, ("en-US",)),
        ({"es_ES": 0.35}, 0.10, ("es-ES",)),
        ({"en_US": 0.17, "es_ES": 0.35}, 0.10, ("en-US", "es-ES")),
        ({"el_GR": 2.0}, 0.0, ()),
    ],
)
def test_guards_may_lose_so_much_and_no_more(
    changes: dict[str, float], excess: float, broken: tuple[str, ...]
) -> None:
    judgement = judged(**changes)
    assert judgement.excess == pytest.approx(excess)
    assert judgement.broken == broken


def test_results_are_ordered_by_the_limits_first_and_the_gain_second() -> None:
    best_first = [
        judged(el_GR=0.2, en_US=0.14),
        judged(el_GR=0.4),
        judged(),
        judged(el_GR=1.6),
        judged(el_GR=0.1, en_US=0.16),
        judged(el_GR=0.1, en_US=0.30),
        judged(el_GR=0.2, en_US=0.30),
    ]
    assert sorted(best_first, key=lambda judgement: judgement.order) == best_first


def test_a_rate_of_zero_is_finite_and_the_best() -> None:
    perfect = judged(el_GR=0.0, bg_BG=0.0)
    assert math.isfinite(perfect.objective)
    assert perfect.objective < judged(el_GR=0.01, bg_BG=0.01).objective


def test_a_perfect_base_can_be_kept() -> None:
    policy = GuardPolicy(targets=("el-GR",))
    assert judge({"el-GR": 0.0}, base={"el-GR": 0.0}, policy=policy).objective == 0.0


@given(tuned=rates)
def test_excess_and_broken_guards_agree(tuned: dict[str, float]) -> None:
    judgement = judge(tuned, base=BASE, policy=POLICY)
    assert (judgement.excess > 0) == bool(judgement.broken)
    assert set(judgement.broken) <= set(POLICY.guards)


@given(tuned=rates, tag=st.sampled_from(POLICY.targets), share=st.floats(0.0, 1.0))
def test_a_better_target_never_makes_it_worse(tuned: dict[str, float], tag: str, share: float) -> None:
    better = judge(tuned | {tag: tuned[tag] * share}, base=BASE, policy=POLICY)
    assert better.order <= judge(tuned, base=BASE, policy=POLICY).order


@given(tuned=rates)
def test_locales_without_a_role_do_not_count(tuned: dict[str, float]) -> None:
    policy = GuardPolicy(targets=("el-GR",))
    assert judge(tuned, base=BASE, policy=policy) == judge(
        {"el-GR": tuned["el-GR"]}, base={"el-GR": 0.8}, policy=policy
    )
