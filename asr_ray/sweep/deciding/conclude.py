"""The end of a sweep: records and counts in; decision, fits and advice out. Draws and writes nothing."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr_ray.data.mix import Key
from asr_ray.errors import ConfigError
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.settings import TrainSettings, ValidationSettings
from asr_ray.sweep.deciding.advice import Advice, MixPoint, advise
from asr_ray.sweep.deciding.candidates import Decision, Scores
from asr_ray.sweep.deciding.counts import Counts, rates_of, read_counts
from asr_ray.sweep.deciding.decision import decide
from asr_ray.sweep.deciding.observed import observe
from asr_ray.sweep.deciding.response import LocaleFit, Observation, fit_locale
from asr_ray.sweep.mixes import hours_by_locale, shares_of
from asr_ray.sweep.records import TrialRecord
from asr_ray.sweep.space import Sweep

OTHERS = "others"
"""Group of all locales that are no targets, where no groups are searched."""


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """Everything that a sweep has to say.

    Attributes:
        records: by name; `scores` are what they were judged by.
        groups: name -> locales, over whose shares the error rates are fitted.
        observations: of the trials that were fitted.
        fits: of the targets and guards that enough trials read.
        point: mix of the winner.
        data: locale -> share of the hours.
        winner: configuration of the winner.
    """

    sweep: Sweep
    decision: Decision
    records: Mapping[str, TrialRecord]
    scores: Scores
    policy: GuardPolicy
    groups: Mapping[str, tuple[str, ...]]
    observations: tuple[Observation, ...]
    fits: Mapping[str, LocaleFit]
    point: MixPoint
    advice: tuple[Advice, ...]
    data: Mapping[str, float]
    hours: Mapping[str, float]
    winner: TrainSettings

    def to_json(self) -> dict[str, Any]:
        """Return the content of `decision.json`."""
        return {
            **self.decision.to_json(),
            "advice": [dataclasses.asdict(each) for each in self.advice],
            "data": dict(self.data),
            "hours": dict(self.hours),
        }


def conclude(
    sweep: Sweep,
    *,
    records: Mapping[str, TrialRecord],
    base_counts: Counts,
    test_base_counts: Counts | None = None,
    seconds_by_key: Mapping[Key, float],
) -> Conclusion:
    """Decide a sweep; may be called at any time, and says what is still open.

    Args:
        base_counts: errors per utterance of the untuned model on the validation set; `test_base_counts` on
            the test set, where one is configured and was scored.
        seconds_by_key: seconds of training audio.

    Raises:
        DataError: no trial has ended, or the counts of one cannot be read or are of other utterances.
    """
    hours = hours_by_locale(seconds_by_key)
    known = sweep.with_hours(hours)
    settings = known.settings_of(known.configured, run_dir=sweep.settings.out)
    policy = policy_of(settings.validation)
    ended = {name: record for name, record in records.items() if record.status == "finished"}
    scores = Scores(
        base=rates_of(base_counts),
        base_counts=base_counts,
        counts={name: read_counts(Path(each.counts)) for name, each in ended.items() if each.counts},
        test_base=rates_of(test_base_counts) if test_base_counts else {},
        test_base_counts=test_base_counts,
        test_counts={
            name: read_counts(Path(each.test_counts)) for name, each in ended.items() if each.test_counts
        },
    )
    data = shares_of(hours)
    decision = decide(records.values(), scores=scores, policy=policy, data=data, seed=sweep.settings.seed)
    winner = known.settings_of(
        decision.winning.values, run_dir=sweep.settings.out / "winner", seed=records[decision.winner].seed
    )
    groups = _groups(known, policy=policy, locales=list(hours))
    observations = tuple(
        observe(record, sweep=known, groups=groups) for _, record in sorted(ended.items()) if record.rungs
    )
    fits = _fits(observations, policy=policy, groups=groups)
    won = observe(records[decision.winner], sweep=known, groups=groups)
    point = MixPoint(shares=won.shares, seconds=won.seconds, keys=won.keys)
    targets = {
        tag: fit for tag, fit in fits.items() if tag in policy.targets and hours.get(tag) and fit.group
    }
    return Conclusion(
        sweep=known,
        decision=replace(
            decision,
            command=_command(sweep.settings.out),
            settings=winner.model_dump(mode="json"),
        ),
        records=records,
        scores=scores,
        policy=policy,
        groups=groups,
        observations=observations,
        fits=fits,
        point=point,
        advice=advise(targets, point=point, hours=hours, seed=sweep.settings.seed),
        data=data,
        hours=hours,
        winner=winner,
    )


def policy_of(validation: ValidationSettings) -> GuardPolicy:
    """Return who has to get better and who must not get worse."""
    return GuardPolicy(
        targets=tuple(validation.targets),
        guards=tuple(validation.guards),
        max_guard_loss=validation.max_guard_loss,
    )


def _command(out: Path) -> str:
    folder = shlex.quote(str(out / "decision.json"))
    return f"python jobs/train.py --from-decision {folder} --set run_dir={shlex.quote(str(out / 'winner'))}"


def _groups(sweep: Sweep, *, policy: GuardPolicy, locales: list[str]) -> dict[str, tuple[str, ...]]:
    if sweep.simplex is not None:
        return dict(sweep.simplex.groups)
    rest = tuple(tag for tag in locales if tag not in policy.targets)
    own = {tag: (tag,) for tag in policy.targets if tag in locales}
    return own | ({OTHERS: rest} if rest else {})


def _fits(
    observations: tuple[Observation, ...], *, policy: GuardPolicy, groups: Mapping[str, tuple[str, ...]]
) -> dict[str, LocaleFit]:
    found = {}
    for locale in (*policy.targets, *policy.guards):
        try:
            found[locale] = fit_locale(locale, observations, groups=groups)
        except ConfigError:
            # Too few trials read it: there is no curve of it, and no advice.
            continue
    return found
