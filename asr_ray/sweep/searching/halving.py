"""Which trials are ended early: asynchronous successive halving on seconds of audio. Pure.

The stopping variant of ASHA (arXiv 1810.05934, as Ray Tune has it): at each rung a trial goes on if it is
among the best `1 / reduction_factor` of all that reached the rung so far. It is decided from the records
alone, so that a sweep that was killed remembers what its rungs have seen.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from asr_ray.settings.sweep import AshaSettings
from asr_ray.sweep.records import Rung, TrialRecord

RIVALS = frozenset({"baseline", "search"})
"""Stages whose trials are compared; of them only those of the search may be ended."""


def reason_to_stop(
    name: str, records: Mapping[str, TrialRecord], *, asha: AshaSettings, total_s: float
) -> str | None:
    """Return why a trial is not worth more audio, in words; None while it is, or where no rung was reached.

    Args:
        name: a trial that has just been validated.
        total_s: seconds of audio of a whole trial.
    """
    own = records[name]
    reached = [s for s in asha.rungs_s(total_s) if own.last is not None and own.last.audio_s >= s]
    # A rung is judged once, at the first validation that reaches it.
    if own.stage != "search" or not reached or rung_at(own.rungs, reached[-1]) is not own.last:
        return None
    rivals = [record for record in records.values() if record.stage in RIVALS]
    at_rung = {rival.name: found for rival in rivals if (found := rung_at(rival.rungs, reached[-1]))}
    ranking = sorted(at_rung, key=lambda rival: _order(at_rung[rival]))
    kept = math.ceil(len(ranking) / asha.reduction_factor)
    place = ranking.index(name) + 1
    if place <= kept:
        return None
    return (
        f"place {place} of {len(ranking)} at {reached[-1] / 3600:.2g} h of audio, "
        f"where the best {kept} go on; {ranking[0]} leads"
    )


def rung_at(rungs: Sequence[Rung], audio_s: float) -> Rung | None:
    """Return the first validation with at least so many seconds of audio in the weights."""
    return next((rung for rung in rungs if rung.audio_s >= audio_s), None)


def leaders(records: Mapping[str, TrialRecord], *, count: int, but: Collection[str] = ()) -> list[str]:
    """Return the best trials that were trained to the end, the best first.

    Args:
        but: stages that are passed over, beside the repetitions.
    """
    ended = [
        record
        for record in records.values()
        if record.stage not in ("seed", *but) and record.status == "finished" and record.last is not None
    ]
    ended.sort(key=lambda record: _order(record.rungs[-1]))
    return [record.name for record in ended[:count]]


def _order(rung: Rung) -> tuple[float, float]:
    """As `evaluate.objective.Judgement.order`."""
    return rung.excess, rung.objective
