"""What a trial tells about the error rate over the mix. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from asr_ray.metrics import by_locale
from asr_ray.sweep.deciding.response import Observation
from asr_ray.sweep.mixes import shares_of
from asr_ray.sweep.ranges import Interval
from asr_ray.sweep.records import TrialRecord
from asr_ray.sweep.space import Sweep


def observe(record: TrialRecord, *, sweep: Sweep, groups: Mapping[str, tuple[str, ...]]) -> Observation:
    """Return what a trial read and how it ended.

    Args:
        sweep: with the hours of the data, where its mix is a rule over them.
        groups: name -> locales, of which the shares are added.
    """
    planned = by_locale(record.mix)
    total_s = record.last.audio_s if record.last else 0.0
    # What was read counts, not what was planned, wherever it is known.
    seconds = by_locale(record.consumed_s) or {tag: share * total_s for tag, share in planned.items()}
    shares = shares_of(seconds)
    values = {**sweep.configured, **record.values}
    return Observation(
        shares={name: sum(shares.get(tag, 0.0) for tag in tags) for name, tags in groups.items()},
        seconds=seconds,
        rates=record.last.rates if record.last else {},
        keys={
            each.key: each.range.part_of(values[each.key])
            for each in sweep.space
            if isinstance(each.range, Interval) and not each.key.startswith("data.mix.")
        },
    )
