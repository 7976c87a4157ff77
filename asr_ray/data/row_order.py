"""The endless order in which utterances are read, so that every window holds the mix in seconds.

The audio of a key (locale, source) is a tape: its row groups end to end, shuffled anew for each pass.
All tapes run at once, each at the speed of its share:

    windows so far -> seconds so far -> share of each key -> how far its tape has run

A window takes of each tape what runs past meanwhile. An utterance belongs to the window in which its
middle passes, so at every edge of windows each key is within half an utterance of its share. Row groups
are cut at the edges and then read by both neighbours. Whole ones would have to be taken by fair queueing,
which cannot come closer than one row group: with 40 keys that alone is more than 1% of 100 steps.

Nothing depends on what was read before, so a window far away is found as quickly as the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_ray.data.augment.speed import Uses, num_samples
from asr_ray.data.batch_cost import Floats
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key
from asr_ray.data.shuffle import Int64s, permutation, seed_from
from asr_ray.records import SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Shares of seconds that hold from a window on (counted over all epochs)."""

    first_window: int
    shares: Mapping[Key, float]


def windows_per_turn(catalog: Catalog, shares: Mapping[Key, float], *, window_utterances: int) -> int:
    """Windows in which a mix reads as many seconds as the keys that it uses hold; at least one.

    All windows of a mix are equal in seconds: as long as they can be with `window_utterances` on average
    and a whole number of them in a turn, or of turns in a window where a turn is less than one.
    """
    # Rounded, because a sum of shares is seldom 1 to the last bit.
    return max(1, math.ceil(round(_utterances_per_turn(catalog, shares) / window_utterances, 6)))


class RowOrder:
    """The utterances of any window.

    Args:
        catalog: the utterances.
        stages: the mix and its changes; tapes go on where the stage before left them.
        seed: decides the order of the row groups of each key in each pass.
        window_utterances: see `windows_per_turn`.
    """

    def __init__(
        self, catalog: Catalog, *, stages: Sequence[Stage], seed: int, window_utterances: int
    ) -> None:
        self._first_windows = [stage.first_window for stage in stages]
        self._shares = np.array(
            [[stage.shares.get(key, 0.0) for key in catalog.keys] for stage in stages], dtype=np.float64
        )
        self._window_s = [
            _window_s(catalog, stage.shares, window_utterances=window_utterances) for stage in stages
        ]
        self._tapes = {
            index: _Tape(catalog, index, seed=seed)
            for index in np.flatnonzero(self._shares.any(axis=0)).tolist()
        }

    def uses(self, window: int) -> Uses:
        """The utterances of one window (counted over all epochs), key by key."""
        starts, ends = self._reached_s(window) * SAMPLE_RATE, self._reached_s(window + 1) * SAMPLE_RATE
        return Uses.joined([tape.between(starts[index], ends[index]) for index, tape in self._tapes.items()])

    def seconds_before(self, window: int) -> float:
        """Seconds of audio that the mixes ask for in all windows before one."""
        return float(self._reached_s(window).sum())

    def _reached_s(self, window: int) -> Floats:
        """How far the tape of each key has run when a window begins; [keys]."""
        reached_s = np.zeros(self._shares.shape[1])
        ends = [*self._first_windows[1:], window]
        for first, end, window_s, shares in zip(
            self._first_windows, ends, self._window_s, self._shares, strict=True
        ):
            reached_s += max(min(end, window) - first, 0) * window_s * shares
        return reached_s


class _Tape:
    """The audio of one key, pass after pass without end; lengths in samples, whose sums are exact."""

    def __init__(self, catalog: Catalog, index: int, *, seed: int) -> None:
        groups = catalog.row_groups
        first, last = np.searchsorted(groups.key, [index, index + 1]).tolist()
        self._durations_s = catalog.durations_s
        self._starts = groups.starts[first : last + 1] - groups.starts[first]
        self._rows = groups.rows[groups.starts[first] : groups.starts[last]]
        self._samples = np.add.reduceat(self._samples_of(self._rows), self._starts[:-1])
        self._length = int(self._samples.sum())
        self._seed = seed_from(seed, "pass", *catalog.keys[index])
        self._newest_pass = -1
        self._order = self._ends = np.zeros(0, dtype=np.int64)

    def between(self, start: float, end: float) -> Uses:
        """The utterances whose middles lie from `start` on and before `end`."""
        passes = range(int(start // self._length), int(end // self._length) + 1)
        rows = [self._rows_of_pass(n, start - n * self._length, end - n * self._length) for n in passes]
        return Uses(np.concatenate(rows), np.repeat(np.array(passes), [len(part) for part in rows]))

    def _rows_of_pass(self, number: int, start: float, end: float) -> Int64s:
        self._turn_to(number)
        first, last = np.searchsorted(self._ends, [start, end]).tolist()
        groups = self._order[first : last + 1].tolist()
        rows = np.concatenate(
            [self._rows[:0], *(self._rows[self._starts[g] : self._starts[g + 1]] for g in groups)]
        )
        samples = self._samples_of(rows)
        before = self._ends[first - 1] if first else 0
        middles = before + np.cumsum(samples) - samples / 2
        return rows[(start <= middles) & (middles < end)]

    def _turn_to(self, number: int) -> None:
        """Shuffle the row groups for a pass; windows one after the other do so once a pass."""
        if number != self._newest_pass:
            self._newest_pass = number
            self._order = permutation(len(self._samples), seed=seed_from(self._seed, number))
            self._ends = np.cumsum(self._samples[self._order])

    def _samples_of(self, rows: Int64s) -> Int64s:
        return num_samples(self._durations_s[rows])


def _window_s(catalog: Catalog, shares: Mapping[Key, float], *, window_utterances: int) -> float:
    windows = windows_per_turn(catalog, shares, window_utterances=window_utterances)
    turns = max(1, math.floor(round(window_utterances / _utterances_per_turn(catalog, shares), 6)))
    return _seconds_in_use(catalog, shares) * turns / windows


def _utterances_per_turn(catalog: Catalog, shares: Mapping[Key, float]) -> float:
    """Utterances that a mix reads on average in as many seconds as the keys that it uses hold."""
    groups = catalog.row_groups
    counts = np.bincount(groups.key, weights=np.diff(groups.starts), minlength=len(catalog.keys)).tolist()
    of_key = zip(catalog.keys, counts, strict=True)
    per_s = [shares.get(key, 0.0) * count / catalog.seconds_by_key[key] for key, count in of_key]
    return _seconds_in_use(catalog, shares) * float(sum(per_s))


def _seconds_in_use(catalog: Catalog, shares: Mapping[Key, float]) -> float:
    return sum(seconds for key, seconds in catalog.seconds_by_key.items() if shares.get(key, 0.0) > 0)
