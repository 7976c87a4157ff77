"""What became of the replay: seconds of the languages that a run is to keep, asked for and consumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asr_ray.metrics import by_locale
from asr_ray.settings import MixSettings


def replay_locales(mix: MixSettings) -> list[str]:
    """Return every locale that some part of a run replays, in the order of their first mention."""
    locales = (tag for _, stage in mix.stages() if stage.replay for tag in stage.replay.locales)
    return list(dict.fromkeys(locales))


def replay_of(
    mix: MixSettings, *, consumed_s: Mapping[str, float], planned_s: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return `{"consumed_s": ..., "planned_s": ...}` of each replay locale.

    Args:
        consumed_s: seconds in the weights, by "locale/source".
        planned_s: what the mixes asked for, by the same keys.
    """
    consumed, planned = by_locale(consumed_s), by_locale(planned_s)
    return {
        tag: {"consumed_s": consumed.get(tag, 0.0), "planned_s": planned.get(tag, 0.0)}
        for tag in replay_locales(mix)
    }


def never_heard(mix: MixSettings, *, consumed_s: Mapping[str, float]) -> Sequence[str]:
    """Return the replay locales of which nothing was consumed."""
    consumed = by_locale(consumed_s)
    return [tag for tag in replay_locales(mix) if not consumed.get(tag)]
