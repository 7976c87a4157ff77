"""The endless order in which row groups are read, so that every prefix holds the mix in seconds.

Fair queueing (WF2Q, Bennett and Zhang, 1996) with seconds of audio as the work. A key that has
given s seconds may start its next row group when the clock of all seconds stands at s / share, and
is due at (s + its seconds) / share. Of the keys that may start, the one due first is next. So at
every prefix no key is ahead of its share by more than its own row group, nor behind by more than the
largest one. Taking the key with the largest deficit is simpler, but then the shortfall of one key
grows with the number of keys.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_ray.data.augment.speed import Uses
from asr_ray.data.catalog import Catalog, RowGroups
from asr_ray.data.mix import Key
from asr_ray.data.shuffle import Int64s, permutation, seed_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Shares of seconds that hold from a window on (counted over all epochs)."""

    first_window: int
    shares: Mapping[Key, float]


class RowOrder:
    """Windows of row groups, remembered as far as they have been asked for.

    Args:
        catalog: the utterances.
        stages: the mix and its changes; each stage starts a clock of its own.
        seed: decides the order of the row groups of each key in each pass.
        window_utterances: a window takes row groups until it holds this many utterances.
    """

    def __init__(
        self, catalog: Catalog, *, stages: Sequence[Stage], seed: int, window_utterances: int
    ) -> None:
        self._groups: RowGroups = catalog.row_groups
        # Plain lists: a pick reads single numbers, for which NumPy is several times slower.
        self._seconds: list[float] = self._groups.seconds.tolist()
        self._utterances: list[int] = np.diff(self._groups.starts).tolist()
        self._supply = {
            key: _Supply(np.flatnonzero(self._groups.key == i), key=key, seed=seed)
            for i, key in enumerate(catalog.keys)
        }
        self._picked: list[int] = []
        self._passes: list[int] = []
        self._ends: list[int] = []
        self._growth = self._windows(stages, window_utterances)

    def row_groups(self, window: int) -> list[int]:
        """Indices of the row groups of one window (counted over all epochs), in reading order."""
        return self._picked[self._span(window)]

    def uses(self, window: int) -> Uses:
        """The utterances of one window, row group by row group."""
        groups = self._groups
        picked, passes = self.row_groups(window), self._passes[self._span(window)]
        rows = np.concatenate([groups.rows[groups.starts[g] : groups.starts[g + 1]] for g in picked])
        return Uses(rows, np.repeat(np.array(passes), [self._utterances[g] for g in picked]))

    def seconds_before(self, window: int) -> float:
        """Seconds of audio, as recorded, in all windows before one."""
        return sum(self._seconds[group] for group in self._picked[: self._span(window).start])

    def _span(self, window: int) -> slice:
        while len(self._ends) <= window:
            next(self._growth)
        return slice(self._ends[window - 1] if window else 0, self._ends[window])

    def _windows(self, stages: Sequence[Stage], window_utterances: int) -> Iterator[None]:
        last_windows = [*(stage.first_window for stage in stages[1:]), None]
        for stage, end in zip(stages, last_windows, strict=True):
            picks = self._fair_picks(stage.shares)
            while end is None or len(self._ends) < end:
                utterances = 0
                while utterances < window_utterances:
                    group, number_of_pass = next(picks)
                    self._picked.append(group)
                    self._passes.append(number_of_pass)
                    utterances += self._utterances[group]
                self._ends.append(len(self._picked))
                yield

    def _fair_picks(self, shares: Mapping[Key, float]) -> Iterator[tuple[int, int]]:
        """Row groups and the pass each is read in, without end; see the module's docstring for the rule."""
        used = {key: share for key, share in sorted(shares.items()) if share > 0}
        clock = 0.0
        waiting = [(0.0, key) for key in used]  # (may start at, key)
        due: list[tuple[float, Key]] = []  # (due at, key)
        while True:
            # Rounding can leave everyone waiting by a hair; then the first one starts.
            while waiting and (waiting[0][0] <= clock or not due):
                start, key = heapq.heappop(waiting)
                heapq.heappush(due, (start + self._seconds[self._supply[key].head] / used[key], key))
            due_at, key = heapq.heappop(due)
            group, number_of_pass = self._supply[key].take()
            clock += self._seconds[group]
            heapq.heappush(waiting, (due_at, key))
            yield group, number_of_pass


class _Supply:
    """Row groups of one key, pass after pass; none comes again before all have come."""

    def __init__(self, groups: Int64s, *, key: Key, seed: int) -> None:
        self._groups = groups
        self._key = key
        self._seed = seed
        self._pass = 0
        self._left = self._shuffled()

    @property
    def head(self) -> int:
        """The row group that `take` gives next."""
        return self._left[-1]

    def take(self) -> tuple[int, int]:
        """A row group and how often all had been taken before."""
        taken = self._left.pop(), self._pass
        if not self._left:
            self._pass += 1
            self._left = self._shuffled()
        return taken

    def _shuffled(self) -> list[int]:
        seed = seed_from(self._seed, "pass", *self._key, self._pass)
        order: list[int] = self._groups[permutation(len(self._groups), seed=seed)].tolist()
        return order
