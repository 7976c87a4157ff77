"""Records of trials in, one decision out. Pure: the same records in any order give the same decision.

1. A candidate is a trial that ran to its end, with those that repeat it under other seeds; its objective is
   their mean. Where some were repeated, only those can win: the best of many single runs is partly luck.
2. A candidate whose guards, on average over its seeds, lost more than is allowed is infeasible.
3. Of the feasible ones, the best objective leads. Those whose paired difference to it has an interval that
   holds 0 are tied with it, and of these the mix nearest the data wins: the least that has to be believed.
   Near is total variation between planned shares and shares of the hours.
4. Intervals: bootstrap over utterances, the same for all (see `counts`), plus the variance between seeds,
   pooled over all candidates that have several, as noise of each run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from asr_ray.errors import DataError
from asr_ray.evaluate.objective import GuardPolicy, judge
from asr_ray.evaluate.scoring.bootstrap import REPLICATIONS, interval95, two_sided_p
from asr_ray.metrics import by_locale
from asr_ray.report.numbers import counted
from asr_ray.sweep.deciding.candidates import Candidate, Comparison, Decision, Fidelity, Scores
from asr_ray.sweep.deciding.counts import resampled_objectives
from asr_ray.sweep.deciding.wording import reason_of
from asr_ray.sweep.mixes import total_variation
from asr_ray.sweep.records import TrialRecord

Floats = npt.NDArray[np.float64]
_EQUAL_AUDIO = 0.02
"""Share of the seconds by which trials may differ unmentioned."""
_MIN_RANKED = 4
POOR_FIDELITY = 0.6
"""Rank correlation below which ending trials at a rung ends the wrong ones."""


def decide(
    records: Iterable[TrialRecord],
    *,
    scores: Scores,
    policy: GuardPolicy,
    data: Mapping[str, float],
    seed: int,
    replications: int = REPLICATIONS,
) -> Decision:
    """Choose a trial.

    Args:
        records: all trials of a sweep; what has not ended is left out.
        data: locale -> share of the hours.
        seed: of the bootstrap.

    Raises:
        DataError: no trial has ended, or trials were scored on different utterances.
    """
    # By name: what is random is drawn for one candidate after the other.
    everything = sorted(records, key=lambda record: record.name)
    ended = [record for record in everything if record.status == "finished" and record.last is not None]
    candidates = _candidates(ended, scores=scores, policy=policy, data=data)
    if not candidates:
        raise DataError(
            "no trial of the sweep has ended, so there is nothing to decide", fix="run the same command again"
        )
    samples, seed_sd = _samples(
        candidates, ended, scores=scores, policy=policy, seed=seed, replications=replications
    )
    feasible = [each for each in candidates if each.is_eligible and each.is_feasible]
    pool = feasible or [each for each in candidates if each.is_eligible]
    leader = min(pool, key=_order)
    judged = [_against_leader(each, leader, samples, can_tie=each in feasible) for each in candidates]
    ranked = sorted(judged, key=lambda each: (not each.is_eligible, *_order(each)))
    tied = [each for each in ranked if each.is_tied]
    # Equal mixes differ in other keys: of these the better one.
    winner = min(tied, key=lambda each: (round(each.distance, 6), *_order(each))) if feasible else leader
    comparisons = _comparisons(ranked, winner=winner.name, samples=samples)
    return Decision(
        winner=winner.name,
        reason=reason_of(
            winner=winner,
            leader=leader,
            tied=tied,
            comparisons=comparisons,
            infeasible=[each for each in ranked if each.is_eligible and not each.is_feasible],
            policy=policy,
        ),
        candidates=tuple(ranked),
        comparisons=comparisons,
        fidelity=fidelity_of(ended),
        judged=leader.judged,
        seed_sd=seed_sd,
        warnings=_warnings(ranked, everything, seed_sd=seed_sd, fidelity=fidelity_of(ended)),
    )


def fidelity_of(records: Sequence[TrialRecord]) -> tuple[Fidelity, ...]:
    """Correlate each rung with the last one, over trials that have both and are no repetitions."""
    trials = [record for record in records if record.rungs and not record.repeats]
    if not trials:
        return ()
    final = max(record.rungs[-1].step for record in trials)
    whole = {record.name: record.rungs[-1].objective for record in trials if record.rungs[-1].step == final}
    found = []
    for step in sorted({rung.step for record in trials for rung in record.rungs} - {final}):
        pairs = [
            (rung.objective, whole[record.name])
            for record in sorted(trials, key=lambda record: record.name)
            for rung in record.rungs
            if rung.step == step and record.name in whole
        ]
        early, late = ([pair[side] for pair in pairs] for side in (0, 1))
        if len(pairs) >= _MIN_RANKED and len(set(early)) > 1 and len(set(late)) > 1:
            rho = float(stats.spearmanr(early, late).statistic)
            found.append(Fidelity(step=step, trials=len(pairs), spearman=rho))
    return tuple(found)


def _candidates(
    ended: Sequence[TrialRecord], *, scores: Scores, policy: GuardPolicy, data: Mapping[str, float]
) -> list[Candidate]:
    families: dict[str, list[TrialRecord]] = {}
    names = {record.name for record in ended}
    for record in ended:
        if not record.repeats or record.repeats in names:
            families.setdefault(record.repeats or record.name, []).append(record)
    most = max((len(family) for family in families.values()), default=1)
    on_test = bool(scores.test_base) and any(record.test_rates for record in ended)
    found = [
        _candidate(name, family, scores=scores, policy=policy, data=data, on_test=on_test, seeds=most)
        for name, family in sorted(families.items())
    ]
    # Finalists may all break a guard or wait for the test set; then any trial is better than none.
    if any(each.is_eligible for each in found):
        return found
    return [dataclasses.replace(each, is_eligible=True) for each in found]


def _candidate(
    name: str,
    family: Sequence[TrialRecord],
    *,
    scores: Scores,
    policy: GuardPolicy,
    data: Mapping[str, float],
    on_test: bool,
    seeds: int,
) -> Candidate:
    first = next(record for record in family if record.name == name)
    tested = on_test and all(record.test_rates for record in family)
    base = scores.test_base if tested else scores.base
    rates = [_rates(record, on_test=tested) for record in family]
    locales = (*policy.targets, *policy.guards)
    mean = {tag: math.fsum(run[tag] for run in rates) / len(rates) for tag in locales}
    objectives = [judge(run, base=base, policy=policy).objective for run in rates]
    verdict = judge(mean, base=base, policy=policy)
    mix = by_locale(first.mix)
    return Candidate(
        name=name,
        stage=first.stage,
        runs=tuple(record.name for record in family),
        values=first.values,
        mix=mix,
        rates=mean,
        judged="test" if tested else "validation",
        objective=math.fsum(objectives) / len(objectives),
        excess=verdict.excess,
        broken=verdict.broken,
        distance=total_variation(mix, data),
        audio_s=math.fsum(record.audio_s for record in family) / len(family),
        is_eligible=tested == on_test and len(family) >= min(seeds, 2),
    )


def _rates(record: TrialRecord, *, on_test: bool) -> Mapping[str, float]:
    return record.test_rates if on_test or record.last is None else record.last.rates


def _order(candidate: Candidate) -> tuple[float, float, str]:
    return candidate.excess, candidate.objective, candidate.name


def _samples(
    candidates: Sequence[Candidate],
    ended: Sequence[TrialRecord],
    *,
    scores: Scores,
    policy: GuardPolicy,
    seed: int,
    replications: int,
) -> tuple[dict[str, Floats], float | None]:
    """Return the resampled objectives of each candidate that has counts, and the deviation between seeds."""
    by_name = {record.name: record for record in ended}
    seed_sd = _seed_sd(candidates, by_name, scores=scores, policy=policy)
    rng = np.random.default_rng(seed)
    found: dict[str, Floats] = {}
    for judged, counts, base in (
        ("test", scores.test_counts, scores.test_base_counts),
        ("validation", scores.counts, scores.base_counts),
    ):
        own = [each for each in candidates if each.judged == judged and set(each.runs) <= counts.keys()]
        if base is None or not own:
            continue
        runs = {run: counts[run] for each in own for run in each.runs}
        drawn = resampled_objectives(
            runs, base=base, targets=policy.targets, replications=replications, seed=seed
        )
        for each in own:
            noise = rng.normal(0.0, (seed_sd or 0.0) / math.sqrt(len(each.runs)), replications)
            found[each.name] = np.mean([drawn[run] for run in each.runs], axis=0) + noise
    return found, seed_sd


def _seed_sd(
    candidates: Sequence[Candidate],
    by_name: Mapping[str, TrialRecord],
    *,
    scores: Scores,
    policy: GuardPolicy,
) -> float | None:
    squares, freedom = 0.0, 0
    for each in candidates:
        on_test = each.judged == "test"
        base = scores.test_base if on_test else scores.base
        objectives = [
            judge(_rates(by_name[run], on_test=on_test), base=base, policy=policy).objective
            for run in each.runs
        ]
        mean = math.fsum(objectives) / len(objectives)
        squares += math.fsum((objective - mean) ** 2 for objective in objectives)
        freedom += len(objectives) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _against_leader(
    candidate: Candidate, leader: Candidate, samples: Mapping[str, Floats], *, can_tie: bool
) -> Candidate:
    own, best = samples.get(candidate.name), samples.get(leader.name)
    is_leader = candidate.name == leader.name
    comparable = candidate.judged == leader.judged
    behind = candidate.objective - leader.objective if comparable else None
    interval = None
    if own is not None and best is not None and comparable and not is_leader:
        interval = interval95(own - best)
    tied = is_leader or (can_tie and (behind == 0 or (interval is not None and interval[0] <= 0)))
    return dataclasses.replace(
        candidate,
        ci95=interval95(own) if own is not None else None,
        behind=behind,
        behind_ci95=interval,
        is_tied=tied,
    )


def _comparisons(
    ranked: Sequence[Candidate], *, winner: str, samples: Mapping[str, Floats]
) -> tuple[Comparison, ...]:
    won = next(each for each in ranked if each.name == winner)
    found = []
    for each in ranked:
        if each.stage != "baseline" or each.name == winner or each.judged != won.judged:
            continue
        both = winner in samples and each.name in samples
        difference = samples[winner] - samples[each.name] if both else None
        found.append(
            Comparison(
                baseline=each.name,
                delta=won.objective - each.objective,
                ci95=None if difference is None else interval95(difference),
                p_value=None if difference is None else two_sided_p(difference),
            )
        )
    return tuple(found)


def _warnings(
    ranked: Sequence[Candidate],
    records: Sequence[TrialRecord],
    *,
    seed_sd: float | None,
    fidelity: Sequence[Fidelity],
) -> tuple[str, ...]:
    found = []
    audio = [each.audio_s for each in ranked if each.is_eligible]
    if min(audio) > 0 and max(audio) / min(audio) > 1 + _EQUAL_AUDIO:
        ends = f"{min(audio):,.0f} to {max(audio):,.0f} s"
        found.append(f"the trials were not trained on equal seconds of audio ({ends})")
    open_ones = [record.name for record in records if record.status in ("planned", "running")]
    if open_ones:
        found.append(
            f"{counted(len(open_ones), 'trial')} not ended yet, among them {open_ones[0]}: this may change"
        )
    failed = [record.name for record in records if record.status == "failed"]
    if failed:
        found.append(f"{counted(len(failed), 'trial')} failed and left out: {', '.join(failed[:5])}")
    if seed_sd is None:
        found.append("every trial has one seed: how far seeds move the objective is in no interval")
    stopped = any(record.status == "stopped" for record in records)
    poor = [each for each in fidelity if each.spearman < POOR_FIDELITY]
    if stopped and poor:
        worst = min(poor, key=lambda each: each.spearman)
        found.append(
            f"trials were ended early, but at step {worst.step:,} their order is not yet that of their ends "
            f"(rank correlation {worst.spearman:.2f}): set a later sweep.asha.first_rung_s"
        )
    return tuple(found)
