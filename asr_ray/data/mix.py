"""Hours in, shares of seconds out: how much of the training audio each source gives.

A key is (locale, source). `mix_shares` applies one rule after the other:

    rule for the targets   `Ratios` written by hand, or `Temperature`: share ~ hours ** alpha
    replay                 locales that are only kept alive share a fixed part of the audio
    repetition cap         no key is read more than `max_passes` times; others take the surplus

Everything here is arithmetic on a small table; nothing is read and nothing is random.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asr_ray.errors import ConfigError

Key = tuple[str, str]
"""(locale, source)."""

Floats = npt.NDArray[np.float64]

_EPSILON = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Parts written by hand: `{"el-GR": 3, "bg-BG/radio": 1}`.

    Attributes:
        parts: by locale or by locale/source. The part of a locale is for those of its sources that are
            not named themselves.
        source_alpha: exponent over the hours of the sources that share the part of a locale.
    """

    parts: Mapping[str, float]
    source_alpha: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """share ~ hours ** alpha: 1 follows the data, 0 makes all equal.

    The exponents 0.5 and 0.5 are those of the training recipes of Omnilingual ASR (2025).

    Attributes:
        locale_alpha: exponent over the hours of the locales.
        source_alpha: exponent over the hours of the sources inside one locale.
    """

    locale_alpha: float = 0.5
    source_alpha: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Locales that are not being tuned and get `share` of the seconds, so that they are not forgotten.

    Among themselves they are shared by hours ** alpha.
    """

    locales: tuple[str, ...]
    share: float
    alpha: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RepetitionCap:
    """Upper limit of passes over one key (UniMax, arXiv 2304.09151).

    Attributes:
        budget_s: seconds of training that the mix is for.
        used_s: seconds that mixes before it read of each key; they count towards the limit.
    """

    max_passes: float
    budget_s: float
    used_s: Mapping[Key, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixPolicy:
    """The rules of one mix; see the module's docstring for their order."""

    targets: Ratios | Temperature = field(default_factory=Temperature)
    replay: Replay | None = None
    cap: RepetitionCap | None = None


class MixConcern(enum.StrEnum):
    """What a mix does that its author may not have wanted."""

    UNUSED = "unused"
    CAPPED = "capped"
    REPLAY_MOVED = "replay-moved"
    ALL_CAPPED = "all-capped"


@dataclass(frozen=True, slots=True, kw_only=True)
class MixWarning:
    """One concern about a mix; `key` is None when it is about the mix as a whole."""

    concern: MixConcern
    detail: str
    key: Key | None = None


def mix_name(shares: Mapping[Key, float]) -> str:
    """A short name that equal shares share; what the last bits of a float64 say does not count."""
    text = json.dumps([(*key, f"{share:.9f}") for key, share in sorted(shares.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Target share of seconds for each key (sum 1, zeros kept), and what to tell the user about it."""

    shares: Mapping[Key, float]
    warnings: tuple[MixWarning, ...] = ()


def mix_shares(seconds_by_key: Mapping[Key, float], *, policy: MixPolicy) -> Mix:
    """Share of seconds that each (locale, source) shall give.

    Args:
        seconds_by_key: seconds of audio that exist of each key.
        policy: the rules; see the module's docstring.

    Raises:
        ConfigError: the policy names a locale without audio, or a number out of its range.
    """
    keys = sorted(key for key, seconds in seconds_by_key.items() if seconds > 0)
    if not keys:
        raise ConfigError("a mix needs audio and the table of hours is empty", fix="prepare a corpus first")
    _check(policy, keys=keys)
    seconds = np.array([seconds_by_key[key] for key in keys], dtype=np.float64)
    is_replay = np.array([policy.replay is not None and key[0] in policy.replay.locales for key in keys])
    shares = _uncapped_shares(keys, seconds, is_replay=is_replay, policy=policy)
    warnings = _unused(keys, shares)
    if policy.cap is not None:
        shares, cap_warnings = _capped(keys, seconds, shares, is_replay=is_replay, cap=policy.cap)
        warnings += cap_warnings
    by_key = dict.fromkeys(seconds_by_key, 0.0) | dict(zip(keys, shares.tolist(), strict=True))
    return Mix(shares=by_key, warnings=tuple(warnings))


def _check(policy: MixPolicy, *, keys: list[Key]) -> None:
    locales = {locale for locale, _ in keys}
    match policy.targets:
        case Ratios(parts=parts, source_alpha=source_alpha):
            _check_named(parts, known=locales | {"/".join(key) for key in keys})
            _check_parts(parts, keys=keys, replay=policy.replay)
            _check_range("source_alpha", source_alpha, low=0, high=2)
        case Temperature(locale_alpha=locale_alpha, source_alpha=source_alpha):
            _check_range("locale_alpha", locale_alpha, low=0, high=2)
            _check_range("source_alpha", source_alpha, low=0, high=2)
    if policy.replay is not None:
        _check_named(policy.replay.locales, known=locales)
        _check_range("replay share", policy.replay.share, low=0, high=1)
        _check_range("replay alpha", policy.replay.alpha, low=0, high=2)
    if policy.cap is not None and not (policy.cap.max_passes > 0 and policy.cap.budget_s > 0):
        raise ConfigError(f"a repetition cap needs positive passes and seconds, got {policy.cap}")


def _check_parts(parts: Mapping[str, float], *, keys: list[Key], replay: Replay | None) -> None:
    if replay is not None and (
        both := sorted(name for name in parts if name.partition("/")[0] in replay.locales)
    ):
        raise ConfigError(
            f"mix ratios name {', '.join(both)}, which the replay share is for",
            fix="take it out of one of them",
        )
    if any(not 0 <= part < float("inf") for part in parts.values()):
        raise ConfigError(f"mix ratios must be finite and not negative: {dict(parts)}")
    shared = {locale for locale, source in keys if f"{locale}/{source}" not in parts}
    if empty := sorted(name for name in parts if "/" not in name and name not in shared):
        raise ConfigError(
            f"mix ratios name {empty[0]} and every one of its sources, so its part has no audio",
            fix=f"take {empty[0]} out of the ratios, or one of its sources",
        )


def _check_named(names: Iterable[str], *, known: set[str]) -> None:
    if missing := sorted(set(names) - known):
        raise ConfigError(
            f"the mix names {', '.join(missing)}, but no audio of it is prepared (there is: "
            f"{', '.join(sorted(known))})",
            fix="prepare a corpus of it or take it out of the mix",
        )


def _check_range(name: str, number: float, *, low: float, high: float) -> None:
    if not low <= number <= high:
        raise ConfigError(f"{name} is {number}, outside of {low} to {high}", fix="correct it in the mix")


def _uncapped_shares(
    keys: list[Key], seconds: Floats, *, is_replay: npt.NDArray[np.bool_], policy: MixPolicy
) -> Floats:
    """Targets by their rule, replay locales by hours, joined by the replay share; float64 [keys]."""
    match policy.targets:
        case Ratios():
            targets = _by_parts(keys, seconds, ratios=policy.targets)
        case Temperature(locale_alpha=locale_alpha, source_alpha=source_alpha):
            targets = _by_hours(keys, seconds, locale_alpha=locale_alpha, source_alpha=source_alpha)
    targets = np.where(is_replay, 0.0, targets)
    if targets.sum() <= 0 and not (policy.replay is not None and policy.replay.share == 1):
        raise ConfigError(
            "the mix leaves no locale to tune: every one is a replay locale or has the ratio 0",
            fix="give at least one locale a ratio above 0 and keep it out of the replay locales",
        )
    if policy.replay is None or not is_replay.any():
        return _normalised(targets)
    replay = np.where(
        is_replay, _by_hours(keys, seconds, locale_alpha=policy.replay.alpha, source_alpha=1.0), 0.0
    )
    share = policy.replay.share
    return (1 - share) * _normalised(targets) + share * _normalised(replay)


def _by_parts(keys: list[Key], seconds: Floats, *, ratios: Ratios) -> Floats:
    own = np.array([ratios.parts.get("/".join(key), np.nan) for key in keys])
    unnamed = np.isnan(own)
    weights = np.where(unnamed, (seconds / 3600) ** ratios.source_alpha, 0.0)
    totals = _locale_totals(keys, weights)
    of_locale = np.array([ratios.parts.get(locale, 0.0) for locale, _ in keys])
    shared = of_locale * np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    return np.where(unnamed, shared, own)


def _by_hours(keys: list[Key], seconds: Floats, *, locale_alpha: float, source_alpha: float) -> Floats:
    hours = _locale_totals(keys, seconds) / 3600
    weights: Floats = hours**locale_alpha * _within_locale(keys, seconds, alpha=source_alpha)
    return weights


def _within_locale(keys: list[Key], seconds: Floats, *, alpha: float) -> Floats:
    """Part of each source in its own locale, ~ hours ** alpha; sums to 1 over each locale."""
    weights = (seconds / 3600) ** alpha
    return weights / _locale_totals(keys, weights)


def _locale_totals(keys: list[Key], numbers: Floats) -> Floats:
    """For each key the sum of `numbers` over its locale."""
    locale_of = np.unique([locale for locale, _ in keys], return_inverse=True)[1]
    return np.bincount(locale_of, weights=numbers).astype(np.float64)[locale_of]


def _normalised(weights: Floats) -> Floats:
    total = float(weights.sum())
    return weights / total if total > 0 else weights


def _unused(keys: list[Key], shares: Floats) -> list[MixWarning]:
    return [
        MixWarning(
            concern=MixConcern.UNUSED,
            key=key,
            detail=f"{'/'.join(key)} is prepared but the mix does not use it",
        )
        for key, share in zip(keys, shares.tolist(), strict=True)
        if share == 0
    ]


def _capped(
    keys: list[Key],
    seconds: Floats,
    shares: Floats,
    *,
    is_replay: npt.NDArray[np.bool_],
    cap: RepetitionCap,
) -> tuple[Floats, list[MixWarning]]:
    """Shares under the cap. Surplus goes to the same side (targets or replay) first, then to the other."""
    used_s = np.array([cap.used_s.get(key, 0.0) for key in keys])
    room_s = np.maximum(seconds * cap.max_passes - used_s, 0.0)
    limits = np.where(shares > 0, room_s / cap.budget_s, 0.0)
    capped = np.zeros_like(shares)
    for side in (is_replay, ~is_replay):
        capped[side] = _poured(shares[side], limits[side], total=float(shares[side].sum()))
    asked = (shares * cap.budget_s + used_s) / seconds
    warnings = [
        _cap_warning(keys[i], asked[i], cap) for i in np.flatnonzero(shares > limits * (1 + _EPSILON))
    ]
    left = 1.0 - float(capped.sum())
    if left <= _EPSILON * len(keys):
        return capped, warnings
    if limits.sum() < 1:
        hours = np.where(shares > 0, seconds, 0.0)
        passes = (cap.budget_s + used_s[shares > 0].sum()) / hours.sum()
        detail = (
            f"{cap.budget_s / 3600:.1f} h of training need more than {cap.max_passes:g} passes over every "
            f"source; shares follow the hours and each is read about {passes:.1f} times"
        )
        return _normalised(hours), [*warnings, MixWarning(concern=MixConcern.ALL_CAPPED, detail=detail)]
    capped += _poured(shares, limits - capped, total=left)
    detail = f"the cap moved {left:.1%} of the seconds between targets and replay"
    return _normalised(capped), [*warnings, MixWarning(concern=MixConcern.REPLAY_MOVED, detail=detail)]


def _cap_warning(key: Key, passes: float, cap: RepetitionCap) -> MixWarning:
    detail = f"{'/'.join(key)} would be read {passes:.1f} times; capped at {cap.max_passes:g}"
    return MixWarning(concern=MixConcern.CAPPED, key=key, detail=detail)


def _poured(weights: Floats, limits: Floats, *, total: float) -> Floats:
    """min(limits, level * weights) with the level at which the sum is min(total, sum of usable limits)."""
    usable = weights > 0
    poured = np.zeros_like(weights)
    if total <= 0 or not usable.any():
        return poured
    w, limit = weights[usable], limits[usable]
    order = np.argsort(limit / w)
    w, limit = w[order], limit[order]
    # Once the first j keys are full, the others need the level (total - their limits) / other weights.
    full = np.concatenate([[0.0], np.cumsum(limit)[:-1]])
    level = (total - full) / np.cumsum(w[::-1])[::-1]
    overflowing = level > limit / w
    first_free = int(np.argmin(overflowing)) if not overflowing.all() else len(w)
    filled = limit.copy()
    filled[first_free:] = w[first_free:] * level[first_free] if first_free < len(w) else 0.0
    restored = np.empty_like(filled)
    restored[order] = filled
    poured[usable] = restored
    return poured
