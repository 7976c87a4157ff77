"""What accepted speech looks like: hours, lengths, and how densely it is spoken, per locale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FRAME_S = 0.08
"""An encoder frame: 10 ms hops, subsampled eightfold."""

_NUM_BINS = 40
_QUANTILES = (0.05, 0.5, 0.95)

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle of some values and the range of nine in ten of them."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleProfile:
    """Accepted speech of one locale.

    Attributes:
        speakers: different ones that are named; 0 when none is.
        duration_s: of utterances.
        characters_per_s, tokens_per_s: of transcripts, over the whole utterance with its pauses.
        crowded_share: utterances with more tokens than encoder frames.
    """

    locale: str
    utterances: int
    hours: float
    speakers: int
    duration_s: Spread
    characters_per_s: Spread
    tokens_per_s: Spread
    crowded_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Utterances by length: bin i counts `start_s + i * width_s` up to the next one."""

    start_s: float
    width_s: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Accepted speech of all locales; `locales` is sorted by tag.

    Attributes:
        duration_s: of utterances of all locales; None without any.
    """

    locales: tuple[LocaleProfile, ...]
    histogram: Histogram
    duration_s: Spread | None


def profile_of(accepted: pa.Table) -> Profile:
    """Return the profile of accepted rows.

    Args:
        accepted: columns locale, duration_s, num_tokens, num_characters and speaker (a hash, 0 for nobody).
    """
    durations_s = accepted["duration_s"].to_numpy().astype(np.float64)
    codes = accepted["locale"].cast(pa.string()).combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    order = np.argsort(codes.indices.to_numpy(), kind="stable")
    starts = np.searchsorted(codes.indices.to_numpy()[order], np.arange(len(names) + 1))
    columns = {name: accepted[name].to_numpy() for name in ("num_tokens", "num_characters", "speaker")}
    locales = []
    for index, locale in enumerate(names):
        rows = order[starts[index] : starts[index + 1]]
        inside = {name: values[rows] for name, values in columns.items()}
        locales.append(_profile_of_locale(locale, durations_s[rows], **inside))
    return Profile(
        locales=tuple(sorted(locales, key=lambda each: each.locale)),
        histogram=histogram_of(durations_s),
        duration_s=_spread(durations_s) if len(durations_s) else None,
    )


def _profile_of_locale(
    locale: str,
    durations_s: Numbers,
    *,
    num_tokens: npt.NDArray[np.int32],
    num_characters: npt.NDArray[np.int32],
    speaker: npt.NDArray[np.uint64],
) -> LocaleProfile:
    return LocaleProfile(
        locale=locale,
        utterances=len(durations_s),
        hours=float(durations_s.sum()) / 3600,
        speakers=len(np.unique(speaker[speaker != 0])),
        duration_s=_spread(durations_s),
        characters_per_s=_spread(num_characters / durations_s),
        tokens_per_s=_spread(num_tokens / durations_s),
        crowded_share=float(np.mean(num_tokens > durations_s / FRAME_S)),
    )


def _spread(values: Numbers) -> Spread:
    low, median, high = np.quantile(values, _QUANTILES).tolist()
    return Spread(low=low, median=median, high=high)


def histogram_of(durations_s: Numbers) -> Histogram:
    """Count durations [N] in at most 40 bins of a round width, the first one from 0.

    The width is 0.1, 0.2, 0.5, 1, 2 or 5 seconds and so on, the smallest that covers the longest.
    """
    longest = float(durations_s.max()) if len(durations_s) else 0.0
    widths = [factor * 10.0**power for power in range(-1, 5) for factor in (1, 2, 5)]
    width_s = next((width for width in widths if width * _NUM_BINS >= longest), widths[-1])
    bins = np.minimum((durations_s / width_s).astype(np.int64), _NUM_BINS - 1)
    counts = np.bincount(bins, minlength=1)
    return Histogram(start_s=0.0, width_s=width_s, counts=tuple(counts.tolist()))
