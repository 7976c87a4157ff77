"""The fit finds laws that are known, says how sure it is, and depends on no order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asr_ray.errors import ConfigError
from asr_ray.sweep.deciding.proxy import design
from asr_ray.sweep.deciding.response import Observation, fit_locale
from asr_ray.sweep.ranges import Simplex

GROUPS = {"a": ("el-GR",), "b": ("bg-BG",), "c": ("en-US",)}
SIMPLEX = Simplex(groups=GROUPS)


def observed(exponent: float, *, noise: float, seed: int, transfer: float = 0.0) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [
        Observation(
            shares=shares,
            seconds={"el-GR": 1000 * shares["a"]},
            rates={
                "el-GR": 0.2
                * (shares["a"] * 3) ** -exponent
                * (shares["b"] * 3) ** -transfer
                * math.exp(rng.normal(0, noise))
            },
        )
        for shares in design(SIMPLEX).values()
    ]


@pytest.mark.parametrize("exponent", [0.1, 0.4])
def test_a_power_law_is_found_within_its_uncertainty(exponent: float) -> None:
    within = 0
    for seed in range(40):
        fit = fit_locale("el-GR", observed(exponent, noise=0.03, seed=seed), groups=GROUPS)
        deviation = math.sqrt(fit.covariance[1, 1])
        within += abs(fit.mean[1] + exponent) < 1.645 * deviation
        assert deviation < 0.15
    # Of 90% intervals over 40 draws; fewer than 30 have a chance of one in a thousand.
    assert within >= 30


def test_noise_free_runs_give_the_law_and_small_uncertainty() -> None:
    fit = fit_locale("el-GR", observed(0.3, noise=0.0, seed=1), groups=GROUPS)
    shares = {name: np.array([0.3]) for name in GROUPS} | {"a": np.array([0.4])}
    predicted = fit.predict(seconds=np.array([400.0]), shares=shares)
    assert predicted.rate[0] == pytest.approx(0.2 * 1.2**-0.3, rel=0.01)
    assert fit.noise < 0.02


def test_help_from_another_language_is_found() -> None:
    fit = fit_locale("el-GR", observed(0.3, noise=0.005, seed=1, transfer=0.1), groups=GROUPS)
    assert fit.mean[3 + fit.others.index("b")] == pytest.approx(-0.1, abs=0.03)
    assert fit.mean[3 + fit.others.index("c")] == pytest.approx(0.0, abs=0.03)


def test_louder_runs_leave_more_uncertainty() -> None:
    quiet, loud = (
        fit_locale("el-GR", observed(0.3, noise=noise, seed=3), groups=GROUPS) for noise in (0.005, 0.2)
    )
    assert quiet.noise < loud.noise
    assert quiet.covariance[1, 1] < loud.covariance[1, 1]


def test_the_order_of_runs_moves_no_bit() -> None:
    runs = observed(0.3, noise=0.03, seed=1)
    first, second = (fit_locale("el-GR", each, groups=GROUPS) for each in (runs, runs[::-1]))
    assert (first.mean == second.mean).all() and (first.covariance == second.covariance).all()


def test_a_learning_rate_that_was_searched_too_is_told_apart() -> None:
    rng = np.random.default_rng(1)
    runs = []
    for index in range(20):
        shares = SIMPLEX.sample(rng)
        key = index / 19
        rate = 0.2 * (shares["a"] * 3) ** -0.3 * math.exp(1.5 * (key - 0.5) ** 2)
        runs.append(
            Observation(
                shares=shares, seconds={"el-GR": 1000 * shares["a"]}, rates={"el-GR": rate}, keys={"lr": key}
            )
        )
    fit = fit_locale("el-GR", runs, groups=GROUPS)
    assert fit.mean[1] == pytest.approx(-0.3, abs=0.05)
    assert fit.mean[-1] == pytest.approx(1.5, abs=0.4)


def test_two_runs_are_no_fit() -> None:
    with pytest.raises(ConfigError, match="a fit needs three"):
        fit_locale("el-GR", observed(0.3, noise=0.0, seed=1)[:2], groups=GROUPS)
