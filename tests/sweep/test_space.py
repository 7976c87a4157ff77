"""A sweep file means valid runs wherever in its space, and says where it does not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.sweep.space import CONFIGURED, RATIOS, SQRT_HOURS, UNIFORM, load_sweep
from tests.sweep.conftest import ALPHA, GROUPS, RUN, Load

HOURS = {"el-GR": 0.1, "bg-BG": 2.0, "en-US": 8.0, "es-ES": 2.0}
OUT = Path("runs/trial")


@pytest.mark.parametrize("tree", [ALPHA, GROUPS], ids=["keys", "groups"])
def test_every_draw_and_every_move_is_a_valid_run(load: Load, tree: dict[str, Any]) -> None:
    sweep = load(tree).with_hours(HOURS)
    rng = np.random.default_rng(1)
    for _ in range(40):
        values = sweep.sample(rng)
        moved = sweep.moved(values, rng=rng)
        for each in (values, moved):
            assert sweep.in_space(each) == each
            assert sweep.settings_of(each, run_dir=OUT).run_dir == OUT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    low=st.floats(1e-6, 1e-2),
    factor=st.floats(1.01, 1e3),
    alphas=st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: pair[0] < pair[1]),
    seed=st.integers(0, 1000),
)
def test_what_loads_holds_no_invalid_run(
    tmp_path: Path, low: float, factor: float, alphas: tuple[float, float], seed: int
) -> None:
    tree = {
        **RUN,
        "optim": {"peak_lr": {"loguniform": [low, low * factor]}, "warmup_steps": 10, "min_lr": 1e-4},
        "data": {**RUN["data"], "mix": {"alpha": {"uniform": list(alphas)}}},
        "sweep": {"out": "x"},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    # min_lr has to stay below peak_lr: a space that reaches below is refused as a whole.
    if low < 1e-4:
        with pytest.raises(ConfigError, match="runs that cannot be"):
            load_sweep(path)
        return
    sweep = load_sweep(path)
    drawn = sweep.sample(np.random.default_rng(seed))
    run = sweep.settings_of(drawn, run_dir=OUT)
    assert low <= run.optim.peak_lr <= low * factor * (1 + 1e-12)
    assert alphas[0] <= run.data.mix.alpha <= alphas[1]


def test_values_land_at_their_keys_and_nowhere_else(load: Load) -> None:
    sweep = load(ALPHA)
    before = sweep.settings_of({}, run_dir=OUT)
    after = sweep.settings_of({"optim.peak_lr": 3e-3}, run_dir=OUT, seed=5)
    assert (after.optim.peak_lr, after.seed) == (3e-3, 5)
    assert after.model_copy(update={"optim": before.optim, "seed": before.seed}) == before


def test_a_key_without_a_range_has_what_the_files_below_say(load: Load) -> None:
    sweep = load(ALPHA)
    assert sweep.configured == {
        "data.mix.alpha": 0.5,
        "data.mix.replay.share": 0.3,
        "optim.peak_lr": 1e-4,
    }


def test_an_override_takes_the_place_of_a_range_and_may_be_one(load: Load) -> None:
    fixed = load(ALPHA, sets=["data.mix.alpha=0.2"])
    assert [each.key for each in fixed.space] == ["data.mix.replay.share", "optim.peak_lr"]
    assert fixed.settings_of({}, run_dir=OUT).data.mix.alpha == 0.2
    added = load(ALPHA, sets=["optim.weight_decay={choice: [0.0, 0.1]}"])
    assert added.space[-1].origin == "--set"


def test_the_share_of_a_group_is_shared_out_by_hours(load: Load) -> None:
    sweep = load(GROUPS).with_hours(HOURS)
    shares = {"greek": 0.5, "bulgarian": 0.2, "kept": 0.3}
    ratios = sweep.settings_of({RATIOS: shares}, run_dir=OUT).data.mix.ratios
    assert ratios == pytest.approx({"el-GR": 0.5, "bg-BG": 0.2, "en-US": 0.2, "es-ES": 0.1})
    assert sweep.parts() == pytest.approx({"el-GR": 1, "bg-BG": 1, "en-US": 2 / 3, "es-ES": 1 / 3})


def test_groups_of_several_locales_need_hours(load: Load) -> None:
    sweep = load(GROUPS)
    with pytest.raises(ConfigError, match=r"how many hours of en-US, es-ES"):
        sweep.settings_of({RATIOS: {"greek": 0.5, "bulgarian": 0.2, "kept": 0.3}}, run_dir=OUT)


def test_baselines_are_uniform_by_hours_and_as_configured(load: Load) -> None:
    sweep = load(ALPHA, sets=["data.mix.alpha={uniform: [0.2, 1]}"])
    mixes = {
        name: sweep.settings_of(values, run_dir=OUT).data.mix for name, values in sweep.baselines().items()
    }
    # What is configured is the schema's 0.5 here, so it stands once.
    assert {name: mix.alpha for name, mix in mixes.items()} == {UNIFORM: 0.0, SQRT_HOURS: 0.5}
    assert all(mix.replay and mix.replay.share == 0.3 for mix in mixes.values())


def test_a_baseline_outside_of_the_space_is_none_of_its_points(load: Load) -> None:
    sweep = load(ALPHA, sets=["data.mix.alpha={uniform: [0.2, 1]}"])
    baselines = sweep.baselines()
    assert sweep.in_space(baselines[UNIFORM]) is None
    assert sweep.in_space(baselines[SQRT_HOURS]) == {**sweep.configured, "data.mix.alpha": 0.5}


def test_baselines_of_groups_are_points_of_the_simplex(load: Load) -> None:
    sweep = load(GROUPS).with_hours(HOURS)
    uniform, by_hours = (sweep.in_space(sweep.baselines()[name]) for name in (UNIFORM, SQRT_HOURS))
    assert uniform and uniform[RATIOS] == pytest.approx({"greek": 0.25, "bulgarian": 0.25, "kept": 0.5})
    root = {tag: math.sqrt(hours) for tag, hours in HOURS.items()}
    assert by_hours and by_hours[RATIOS]["greek"] == pytest.approx(root["el-GR"] / sum(root.values()))


def test_a_search_of_learning_rates_alone_has_one_baseline(load: Load) -> None:
    assert list(load({"optim": {"peak_lr": {"loguniform": [1e-4, 1e-2]}}}).baselines()) == [CONFIGURED]


def test_a_grid_is_every_combination(load: Load) -> None:
    assert len({tuple(values.items()) for values in load(ALPHA).grid()}) == 27


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"optim": {"warmup_steps": {"uniform": [10, 200]}}}, r"warmup_steps 200 must be below max_steps"),
        ({"data": {"mix": {"alpha": {"uniform": [0, 2]}}}}, r"sweep\.yaml"),
        ({"optim": {"peak_lrr": {"uniform": [0, 2]}}}, r"did you mean optim\.peak_lr\?"),
        ({}, "nothing to search"),
        ({"max_steps": {"choice": [10, 20]}}, "trials must be alike"),
        ({"validation": {"every_steps": {"choice": [10, 20]}}}, "trials must be alike"),
        ({"data": {"mix": {"ratios": {"uniform": [0, 2]}}}}, "cannot hold a range of numbers"),
        (
            {"data": {"mix": {"alpha": {"simplex": {"a": ["el-GR"], "b": ["bg-BG"]}}}}},
            "cannot hold a simplex",
        ),
        ({**ALPHA, "sweep": {"out": "x", "search": "proxy"}}, "search proxy designs mixes"),
        ({**ALPHA, "sweep": {"out": "x", "serach": "grid"}}, r"did you mean sweep\.search\?"),
        ({**ALPHA, "sweep": {"out": "x", "num_trials": 0}}, r"sweep\.num_trials"),
        (
            {
                "data": {
                    "mix": {
                        "ratios": {"simplex": {"a": ["el-GR"], "b": ["en-US"]}},
                        "replay": {"locales": ["en-US"]},
                    }
                }
            },
            "in a group of data.mix.ratios and in data.mix.replay",
        ),
        (
            {
                "data": {
                    "mix": {
                        "ratios": {"simplex": {"a": ["el-GR"], "b": ["en-US"]}},
                        "alpha": {"uniform": [0, 1]},
                    }
                }
            },
            "each group here has one",
        ),
        ({"data": {"mix": {"ratios": {"simplex": {"a": ["el-GRR"], "b": ["en-US"]}}}}}, "el-GRR"),
    ],
)
def test_what_cannot_be_searched_is_refused(load: Load, over: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(over)
