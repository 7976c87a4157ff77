"""Advice: more hours help where they are repeated, more help more, and what is not known stays wide."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.sweep.deciding.advice import Advice, MixPoint, advise, effective_s, share_curve
from asr_ray.sweep.deciding.response import LocaleFit, Observation, fit_locale

GROUPS = {"greek": ("el-GR",), "others": ("en-US",)}


def fitted(exponent: float, *, noise: float = 0.01, runs: int = 9) -> LocaleFit:
    rng = np.random.default_rng(1)
    observations = [
        Observation(
            shares={"greek": share, "others": 1 - share},
            seconds={"el-GR": 36_000 * share},
            rates={"el-GR": 0.2 * share**-exponent * math.exp(rng.normal(0, noise))},
        )
        for share in np.linspace(0.1, 0.8, runs).tolist()
    ]
    return fit_locale("el-GR", observations, groups=GROUPS)


def advised(fit: LocaleFit, *, hours: float, more_hours: float = 2.0, more_share: float = 1.5) -> Advice:
    point = MixPoint(shares={"greek": 0.4, "others": 0.6}, seconds={"el-GR": 14_400.0}, keys={})
    (found,) = advise(
        {"el-GR": fit},
        point=point,
        hours={"el-GR": hours},
        seed=1,
        more_hours=more_hours,
        more_share=more_share,
    )
    return found


FIT = fitted(0.3)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.01, 20), st.floats(1.05, 10), st.floats(1.01, 5))
def test_more_of_both_never_helps_less(hours: float, factor: float, further: float) -> None:
    less = advised(FIT, hours=hours, more_hours=factor, more_share=factor)
    more = advised(FIT, hours=hours, more_hours=factor * further, more_share=factor * further)
    assert more.more_hours.change <= less.more_hours.change + 1e-9
    assert more.more_share.change <= less.more_share.change + 1e-9


@settings(deadline=None, max_examples=15)
@given(st.floats(0.02, 10), st.floats(1.1, 20))
def test_the_scarcer_a_locale_the_more_it_gains_from_hours(hours: float, factor: float) -> None:
    scarce, rich = advised(FIT, hours=hours), advised(FIT, hours=hours * factor)
    assert scarce.more_hours.change <= rich.more_hours.change + 1e-3


def test_hours_that_are_not_read_once_are_no_help() -> None:
    found = advised(FIT, hours=5.0)
    assert found.passes < 1
    assert found.more_hours.change == pytest.approx(0, abs=1e-9)
    assert not found.more_hours.is_clear
    assert found.more_share.is_clear


def test_a_larger_share_gains_what_the_law_says() -> None:
    found = advised(FIT, hours=5.0)
    low, high = found.more_share.ci95
    assert low <= 1.5**-0.3 - 1 <= high
    assert found.wider_share == pytest.approx(0.6)


def test_a_locale_that_does_not_answer_gains_nothing_clear() -> None:
    found = advised(fitted(0.0, noise=0.1), hours=0.1)
    assert not found.more_hours.is_clear and not found.more_share.is_clear


def test_beyond_all_trials_it_says_that_it_guesses() -> None:
    assert not advised(FIT, hours=1.0, more_share=1.5).is_guess
    assert advised(FIT, hours=1.0, more_share=2.2).is_guess


def test_repeated_seconds_teach_ever_less() -> None:
    repeats = np.array([15.4])
    taught = [effective_s(passes * 3600.0, 3600.0, repeats=repeats)[0] for passes in (0.5, 1, 4, 16, 64, 1e6)]
    assert taught[:2] == pytest.approx([1800, 3600])
    assert all(later > earlier for earlier, later in itertools.pairwise(taught))
    # Four passes are nearly as good as new data (arXiv 2305.16264); never more than 16.4 times the hours.
    assert taught[2] == pytest.approx(4 * 3600, rel=0.1)
    assert taught[-1] == pytest.approx(16.4 * 3600)


def test_the_curve_falls_and_is_widest_at_its_ends() -> None:
    point = MixPoint(shares={"greek": 0.4, "others": 0.6}, seconds={"el-GR": 14_400.0}, keys={})
    curve = share_curve(FIT, point=point, shares=[0.1, 0.3, 0.8])
    assert [each.rate for each in curve] == sorted([each.rate for each in curve], reverse=True)
    assert all(each.low < each.rate < each.high for each in curve)
    widths = [each.high / each.low for each in curve]
    assert widths[1] < min(widths[0], widths[2])
