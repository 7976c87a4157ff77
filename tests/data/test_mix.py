from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.mix import (
    Key,
    Mix,
    MixConcern,
    MixPolicy,
    Ratios,
    RepetitionCap,
    Replay,
    Temperature,
    mix_name,
    mix_shares,
)
from asr_ray.errors import ConfigError

HOUR = 3600.0
EL_A, EL_B, BG, EN, ES = ("el-GR", "a"), ("el-GR", "b"), ("bg-BG", "a"), ("en-US", "a"), ("es-ES", "a")
TABLE: dict[Key, float] = {EL_A: 30 * HOUR, EL_B: 10 * HOUR, BG: 10 * HOUR, EN: 400 * HOUR, ES: 100 * HOUR}

tables = st.dictionaries(
    st.tuples(st.sampled_from(["el-GR", "bg-BG", "en-US", "mt-MT"]), st.sampled_from(["a", "b", "c"])),
    st.floats(1.0, 1e7),
    min_size=1,
    max_size=10,
)


def test_alpha_one_follows_the_hours() -> None:
    mix = mix_shares(TABLE, policy=MixPolicy(targets=Temperature(locale_alpha=1, source_alpha=1)))
    total = sum(TABLE.values())
    assert mix.shares == pytest.approx({key: seconds / total for key, seconds in TABLE.items()})


def test_alpha_zero_makes_locales_equal_and_sources_equal_inside_them() -> None:
    mix = mix_shares(TABLE, policy=MixPolicy(targets=Temperature(locale_alpha=0, source_alpha=0)))
    assert mix.shares == pytest.approx({EL_A: 1 / 8, EL_B: 1 / 8, BG: 1 / 4, EN: 1 / 4, ES: 1 / 4})


def test_temperature_works_on_both_levels() -> None:
    mix = mix_shares({EL_A: 9 * HOUR, EL_B: 0.0, BG: 4 * HOUR}, policy=MixPolicy())
    assert mix.shares == pytest.approx({EL_A: 3 / 5, EL_B: 0.0, BG: 2 / 5})


def test_ratios_are_split_by_seconds_inside_a_locale() -> None:
    mix = mix_shares(TABLE, policy=MixPolicy(targets=Ratios(parts={"el-GR": 3, "bg-BG": 1})))
    assert mix.shares == pytest.approx({EL_A: 0.5625, EL_B: 0.1875, BG: 0.25, EN: 0, ES: 0})
    assert {warning.key for warning in mix.warnings if warning.concern is MixConcern.UNUSED} == {EN, ES}


def test_replay_gets_exactly_its_share() -> None:
    policy = MixPolicy(
        targets=Ratios(parts={"el-GR": 1, "bg-BG": 1}),
        replay=Replay(locales=("en-US", "es-ES"), share=0.3),
    )
    shares = mix_shares(TABLE, policy=policy).shares
    assert shares[EN] + shares[ES] == pytest.approx(0.3)
    assert shares[EN] / shares[ES] == pytest.approx(2.0)  # (400 / 100) ** 0.5
    assert shares[BG] == pytest.approx(0.35)


def test_a_capped_source_gives_its_surplus_to_the_other_targets() -> None:
    policy = MixPolicy(
        targets=Ratios(parts={"el-GR": 1, "bg-BG": 1}),
        replay=Replay(locales=("en-US", "es-ES"), share=0.2),
        cap=RepetitionCap(max_passes=2, budget_s=100 * HOUR),
    )
    mix = mix_shares(TABLE, policy=policy)
    assert mix.shares[BG] == pytest.approx(0.2)  # 2 passes x 10 h of 100 h
    assert mix.shares[EL_A] + mix.shares[EL_B] == pytest.approx(0.6)
    assert mix.shares[EN] + mix.shares[ES] == pytest.approx(0.2)
    (warning,) = mix.warnings
    assert warning.concern is MixConcern.CAPPED
    assert warning.key == BG
    assert "4.0 times" in warning.detail


def test_exhausted_targets_leave_the_rest_to_replay_and_say_so() -> None:
    policy = MixPolicy(
        targets=Ratios(parts={"bg-BG": 1}),
        replay=Replay(locales=("en-US",), share=0.2),
        cap=RepetitionCap(max_passes=4, budget_s=100 * HOUR),
    )
    mix = mix_shares(TABLE, policy=policy)
    assert mix.shares[BG] == pytest.approx(0.4)
    assert mix.shares[EN] == pytest.approx(0.6)
    assert MixConcern.REPLAY_MOVED in {warning.concern for warning in mix.warnings}


def test_a_budget_beyond_all_caps_follows_the_hours_and_says_so() -> None:
    policy = MixPolicy(cap=RepetitionCap(max_passes=1, budget_s=1e6 * HOUR))
    mix = mix_shares(TABLE, policy=policy)
    total = sum(TABLE.values())
    assert mix.shares == pytest.approx({key: seconds / total for key, seconds in TABLE.items()})
    assert MixConcern.ALL_CAPPED in {warning.concern for warning in mix.warnings}


@given(table=tables, alpha=st.floats(0, 1), max_passes=st.floats(0.1, 20), budget_s=st.floats(1.0, 1e8))
def test_shares_sum_to_one_and_hold_the_cap(
    table: dict[Key, float], alpha: float, max_passes: float, budget_s: float
) -> None:
    locales = sorted({locale for locale, _ in table})
    policy = MixPolicy(
        targets=Temperature(locale_alpha=alpha, source_alpha=alpha),
        replay=Replay(locales=tuple(locales[1:]), share=0.25),
        cap=RepetitionCap(max_passes=max_passes, budget_s=budget_s),
    )
    mix = mix_shares(table, policy=policy)
    assert set(mix.shares) == set(table)
    assert min(mix.shares.values()) >= 0
    assert math.isclose(sum(mix.shares.values()), 1, abs_tol=1e-9)
    if MixConcern.ALL_CAPPED not in {warning.concern for warning in mix.warnings}:
        for key, share in mix.shares.items():
            assert share * budget_s <= table[key] * max_passes * (1 + 1e-6)


@given(table=tables)
def test_a_cap_that_nobody_reaches_changes_nothing(table: dict[Key, float]) -> None:
    capped = MixPolicy(cap=RepetitionCap(max_passes=1e6, budget_s=1.0))
    assert mix_shares(table, policy=capped).shares == pytest.approx(
        mix_shares(table, policy=MixPolicy()).shares
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (MixPolicy(targets=Ratios(parts={"mt-MT": 1})), "mt-MT"),
        (MixPolicy(replay=Replay(locales=("mt-MT",), share=0.1)), "mt-MT"),
        (MixPolicy(replay=Replay(locales=("en-US",), share=1.1)), "replay share"),
        (MixPolicy(targets=Ratios(parts={"el-GR": -1})), "not negative"),
        (MixPolicy(targets=Ratios(parts={"el-GR": 0})), "no locale to tune"),
        (MixPolicy(targets=Ratios(parts={"el-GR/c": 1})), "el-GR/c"),
        (MixPolicy(targets=Ratios(parts={"bg-BG": 1, "bg-BG/a": 1})), "bg-BG and every one of its sources"),
        (
            MixPolicy(
                targets=Ratios(parts={"bg-BG": 1, "en-US/a": 1}), replay=Replay(locales=("en-US",), share=0.2)
            ),
            "en-US/a, which the replay share is for",
        ),
        (MixPolicy(targets=Temperature(locale_alpha=3)), "locale_alpha"),
        (MixPolicy(cap=RepetitionCap(max_passes=0, budget_s=1)), "repetition cap"),
        (
            MixPolicy(replay=Replay(locales=("el-GR", "bg-BG", "en-US", "es-ES"), share=0.2)),
            "no locale to tune",
        ),
    ],
)
def test_a_policy_that_cannot_be_met_is_a_configuration_error(policy: MixPolicy, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mix_shares(TABLE, policy=policy)


def test_a_mix_of_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="empty"):
        mix_shares({EL_A: 0.0}, policy=MixPolicy())


def test_alphas_of_locales_and_sources_are_apart() -> None:
    table = {EL_A: 9 * HOUR, EL_B: 1 * HOUR, BG: 90 * HOUR}
    equal_locales = MixPolicy(targets=Temperature(locale_alpha=0, source_alpha=1))
    assert mix_shares(table, policy=equal_locales).shares == pytest.approx({EL_A: 0.45, EL_B: 0.05, BG: 0.5})
    equal_sources = MixPolicy(targets=Temperature(locale_alpha=1, source_alpha=0))
    assert mix_shares(table, policy=equal_sources).shares == pytest.approx({EL_A: 0.05, EL_B: 0.05, BG: 0.9})


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"el-GR/a": 1, "bg-BG": 1}, {EL_A: 0.5, EL_B: 0.0, BG: 0.5}),
        ({"el-GR/a": 1, "el-GR/b": 3}, {EL_A: 0.25, EL_B: 0.75, BG: 0.0}),
        ({"el-GR": 1, "el-GR/b": 3, "bg-BG/a": 4}, {EL_A: 0.125, EL_B: 0.375, BG: 0.5}),
        ({"el-GR": 1, "el-GR/b": 0}, {EL_A: 1.0, EL_B: 0.0, BG: 0.0}),
    ],
)
def test_parts_may_name_single_sources(parts: dict[str, float], expected: dict[Key, float]) -> None:
    mix = mix_shares(TABLE, policy=MixPolicy(targets=Ratios(parts=parts)))
    assert mix.shares == pytest.approx({EN: 0.0, ES: 0.0} | expected)


def test_sources_share_the_part_of_their_locale_by_an_alpha_of_their_own() -> None:
    mix = mix_shares(TABLE, policy=MixPolicy(targets=Ratios(parts={"el-GR": 1}, source_alpha=0)))
    assert mix.shares[EL_A] == mix.shares[EL_B] == pytest.approx(0.5)


def cap_warned(mix: Mix) -> bool:
    return MixConcern.ALL_CAPPED in {warning.concern for warning in mix.warnings}


@settings(max_examples=300)
@given(
    table=tables,
    alpha=st.floats(0, 1),
    max_passes=st.floats(0.1, 20),
    budget_s=st.floats(1.0, 1e8),
    used=st.floats(0, 1),
)
def test_a_cap_pours_the_surplus_to_whoever_has_room_in_the_old_proportion(
    table: dict[Key, float], alpha: float, max_passes: float, budget_s: float, used: float
) -> None:
    """UniMax: everyone at the same level of what was asked for, or at its cap below that level."""
    targets = Temperature(locale_alpha=alpha, source_alpha=alpha)
    used_s = {key: used * max_passes * seconds for key, seconds in table.items()}
    cap = RepetitionCap(max_passes=max_passes, budget_s=budget_s, used_s=used_s)
    asked = mix_shares(table, policy=MixPolicy(targets=targets)).shares
    mix = mix_shares(table, policy=MixPolicy(targets=targets, cap=cap))
    limits = {key: (1 - used) * max_passes * seconds / budget_s for key, seconds in table.items()}

    assert sum(mix.shares.values()) == pytest.approx(1)
    assert cap_warned(mix) == (sum(limits.values()) < 1 - 1e-9) or sum(limits.values()) == pytest.approx(1)
    if cap_warned(mix):
        assert mix.shares == pytest.approx({key: s / sum(table.values()) for key, s in table.items()})
        return
    full = {key for key in table if mix.shares[key] >= limits[key] * (1 - 1e-9)}
    assert all(mix.shares[key] <= limits[key] * (1 + 1e-9) for key in table)
    free = set(table) - full
    if free:
        levels = [mix.shares[key] / asked[key] for key in free]
        assert max(levels) == pytest.approx(min(levels))
        assert all(limits[key] / asked[key] <= min(levels) * (1 + 1e-6) for key in full)


def test_what_was_read_before_counts_towards_the_cap() -> None:
    targets = Ratios(parts={"el-GR": 1, "bg-BG": 1})
    cap = RepetitionCap(max_passes=2, budget_s=100 * HOUR, used_s={BG: 15 * HOUR})
    mix = mix_shares(TABLE, policy=MixPolicy(targets=targets, cap=cap))
    assert cap_warned(mix)  # 5 h of bg-BG and 80 h of el-GR are left for 100 h
    smaller = RepetitionCap(max_passes=2, budget_s=50 * HOUR, used_s={BG: 15 * HOUR})
    mix = mix_shares(TABLE, policy=MixPolicy(targets=targets, cap=smaller))
    assert mix.shares[BG] == pytest.approx(0.1)
    assert [warning.key for warning in mix.warnings if warning.concern is MixConcern.CAPPED] == [BG]


def test_a_mix_is_named_by_its_shares() -> None:
    shares = {EL_A: 0.25, BG: 0.75}
    assert mix_name(shares) == mix_name({BG: 0.75 + 1e-16, EL_A: 0.25})
    assert len({mix_name(shares), mix_name({BG: 0.25, EL_A: 0.75}), mix_name({EL_B: 0.25, BG: 0.75})}) == 3
