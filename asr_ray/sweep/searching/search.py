"""What to try next, from what is known: a pure function of the records, the seed and a number.

Nothing is kept between two calls. A study of Optuna is built from the records each time, which takes
milliseconds beside trials of minutes, so a sweep that was killed proposes what it would have proposed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_ray.errors import EnvironmentFault
from asr_ray.sweep.ranges import Choice, Interval
from asr_ray.sweep.records import TrialRecord
from asr_ray.sweep.space import Dimension, Sweep, Values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

_BEYOND_GUARDS = 1e3
"""Far above any objective: TPE sees ranks only, and a trial that breaks a guard ranks below all others."""

# The logarithm of a smaller number would be a part of the simplex that no float can tell from the whole.
_LEAST = 1e-9


def check_search(sweep: Sweep) -> None:
    """Raise EnvironmentFault when the library that a sweep searches with is missing."""
    if sweep.settings.search == "optuna":
        _optuna()


def propose(sweep: Sweep, records: Mapping[str, TrialRecord], *, number: int) -> Values:
    """Return the values of trial `number` of the search.

    Args:
        records: trials so far, baselines included; what runs counts as bad, so that trials side by side
            look in different places.
        number: from 0 on.
    """
    seed = np.random.SeedSequence([sweep.settings.seed, number])
    if sweep.settings.search == "random":
        return sweep.sample(np.random.default_rng(seed))
    optuna = _optuna()
    with warnings.catch_warnings():
        # Multivariate TPE and the constant liar are marked as experimental since 2020.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=int(seed.generate_state(1)[0]),
            n_startup_trials=_num_drawn(sweep.settings.num_trials),
            multivariate=True,
            constant_liar=True,
        )
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="minimize", sampler=sampler)
        study.add_trials(
            [known for record in records.values() if (known := _known(record, sweep=sweep)) is not None]
        )
        return _values(study.ask(_distributions(sweep)), sweep=sweep)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _num_drawn(num_trials: int) -> int:
    """Trials at random, baselines among them, before TPE begins; Optuna's own ten are too many for a few."""
    return max(3, min(10, num_trials // 3))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise EnvironmentFault(
            "sweep.search optuna: Optuna is not installed",
            fix="pip install 'asr-ray[sweep]', or set sweep.search=random",
        ) from error
    return optuna


def _known(record: TrialRecord, *, sweep: Sweep) -> FrozenTrial | None:
    """A trial as Optuna keeps it; None for those that say nothing about the space."""
    from optuna.trial import TrialState, create_trial

    point = sweep.in_space(record.values)
    if point is None or record.repeats or record.status in ("failed", "infeasible"):
        return None
    described: dict[str, Any] = {
        "params": {name: at for each in sweep.space for name, at in _params(each, point[each.key]).items()},
        "distributions": _distributions(sweep),
    }
    last = record.last
    if last is None or record.status in ("planned", "running"):
        return create_trial(state=TrialState.RUNNING, **described)
    worth = last.objective + (_BEYOND_GUARDS * (1 + last.excess) if last.excess > 0 else 0.0)
    if record.status == "stopped":
        return create_trial(state=TrialState.PRUNED, intermediate_values={last.step: worth}, **described)
    return create_trial(state=TrialState.COMPLETE, value=worth, **described)


def _distributions(sweep: Sweep) -> dict[str, BaseDistribution]:
    return {name: one for each in sweep.space for name, one in _distribution(each).items()}


def _distribution(dimension: Dimension) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key, values = dimension.key, dimension.range
    if isinstance(values, Interval):
        if values.is_whole:
            return {key: IntDistribution(int(values.low), int(values.high), log=values.is_log)}
        return {key: FloatDistribution(values.low, values.high, log=values.is_log)}
    if isinstance(values, Choice):
        # By their place: options may be sections, which Optuna does not take.
        return {key: CategoricalDistribution(range(len(values.options)))}
    return {f"{key}/{group}": FloatDistribution(0.0, 1.0) for group in values.groups}


def _params(dimension: Dimension, value: Any) -> dict[str, Any]:
    key, values = dimension.key, dimension.range
    if isinstance(values, Interval):
        return {key: int(value) if values.is_whole else float(value)}
    if isinstance(values, Choice):
        return {key: values.options.index(value)}
    # Parts of exponential draws are even over the simplex; their sum has no meaning, its mean will do.
    parts = values.parts_of(value)
    return {
        f"{key}/{group}": math.exp(-max(part, 0.0) * len(parts))
        for group, part in zip(values.groups, parts, strict=True)
    }


def _values(trial: Trial, *, sweep: Sweep) -> dict[str, Any]:
    return {each.key: _value(each, trial.params) for each in sweep.space}


def _value(dimension: Dimension, params: Mapping[str, Any]) -> Any:
    key, values = dimension.key, dimension.range
    if isinstance(values, Interval):
        return params[key]
    if isinstance(values, Choice):
        return values.options[params[key]]
    draws = [-math.log(max(params[f"{key}/{group}"], _LEAST)) for group in values.groups]
    return values.shares_at(draws if sum(draws) > 0 else [1.0] * len(draws))
