"""From the proxy runs to the mix that is checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from asr_ray.errors import ConfigError
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.metrics import by_locale
from asr_ray.sweep.deciding.observed import observe
from asr_ray.sweep.deciding.proxy import Proposal, propose
from asr_ray.sweep.deciding.response import fit_locale
from asr_ray.sweep.records import TrialRecord
from asr_ray.sweep.space import RATIOS, Sweep


def predicted_mix(
    sweep: Sweep, records: Mapping[str, TrialRecord], *, base: Mapping[str, float], policy: GuardPolicy
) -> Proposal:
    """Fit the proxy runs that ended, and return the mix that they predict to be best.

    Args:
        base: locale -> error rate of the untuned model.

    Raises:
        ConfigError: fewer than three runs ended.
    """
    simplex = sweep.simplex
    if simplex is None:
        raise ConfigError("a proxy design needs groups of locales", fix=f"give {RATIOS} as a simplex")
    runs = [each for each in records.values() if each.stage == "proxy" and each.status == "finished"]
    observations = [observe(run, sweep=sweep, groups=simplex.groups) for run in runs]
    fits = {
        locale: fit_locale(locale, observations, groups=simplex.groups)
        for locale in (*policy.targets, *policy.guards)
    }
    planned = by_locale(runs[0].mix)
    return propose(
        fits,
        simplex=simplex,
        parts={
            locale: planned[locale] / sum(planned[other] for other in locales)
            for locales in simplex.groups.values()
            for locale in locales
        },
        total_s=sum(run.audio_s for run in runs) / len(runs),
        base=base,
        policy=policy,
        runs=[run.values[RATIOS] for run in runs],
        seed=sweep.settings.seed,
    )
