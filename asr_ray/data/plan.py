"""Which utterance is trained on when, on how many ranks, from which seed: decided before audio is read.

    catalog, shares, seed  -> row groups in the order of their virtual deadlines -> windows
    window, world size     -> steps of equal-cost batches (batching.py)
    steps, `Position`      -> what is still to come, also on another number of ranks

A plan is a pure function of its fields: two machines that build it agree on every row of every step.
Nothing is read but the catalog, so any position can be looked up in moments.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from asr_ray.data.batch_cost import BatchBudget, CostModel, Floats
from asr_ray.data.batching import whole_steps
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key
from asr_ray.data.row_order import RowOrder, Stage
from asr_ray.data.shuffle import Int64s, seed_from
from asr_ray.data.speed import Draws, Speeds, Uses, num_samples, played_samples
from asr_ray.errors import ConfigError, DataError
from asr_ray.records import SAMPLE_RATE, Position

_Taken = tuple[tuple[int, int], ...]
"""(world size, steps taken) of earlier cuts of a window, see `Position.earlier`."""

_MOST_JOINED_WINDOWS = 8

_ROWS_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class Window:
    """Some thousands of utterances that are cut into batches together.

    Attributes:
        uses: the utterances [N]; a row appears twice when a pass of its key ends inside the window.
    """

    epoch: int
    index: int
    uses: Uses

    @property
    def rows(self) -> Int64s:
        """Catalog row indices [N]."""
        return self.uses.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One optimiser step: batch r of `batches` belongs to rank r.

    Attributes:
        position: where the run stands before this step.
        after: where it stands once this step is in the weights; what a checkpoint keeps.
        uses: the utterances of each rank, sorted by tokens.
    """

    position: Position
    after: Position
    uses: tuple[Uses, ...]

    @property
    def batches(self) -> tuple[Int64s, ...]:
        """Catalog row indices of each rank."""
        return tuple(batch.rows for batch in self.uses)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order of all training audio.

    An epoch is a fixed number of windows: the smallest with which the first stage's mix reads as
    many seconds as the keys in use hold. With shares that follow the hours an epoch is one pass.

    Attributes:
        catalog: the utterances.
        stages: the mix and its changes, the first from window 0 on.
        seed: decides every order.
        window_utterances: a window takes whole row groups until it holds this many.
        speeds: how fast utterances are played; batches are cut by what that makes of their durations,
            while shares, passes and epochs stay in seconds as recorded.
    """

    catalog: Catalog
    stages: tuple[Stage, ...]
    seed: int
    budget: BatchBudget = field(default_factory=BatchBudget)
    cost: CostModel = field(default_factory=CostModel)
    window_utterances: int = 4096
    speeds: Speeds = field(default_factory=Speeds)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        shares: Mapping[Key, float],
        *,
        seed: int,
        budget: BatchBudget | None = None,
        cost: CostModel | None = None,
        window_utterances: int = 4096,
        speeds: Speeds | None = None,
    ) -> Plan:
        """A plan whose mix never changes."""
        return cls(
            catalog=catalog,
            stages=(Stage(first_window=0, shares=shares),),
            seed=seed,
            budget=budget or BatchBudget(),
            cost=cost or CostModel(),
            window_utterances=window_utterances,
            speeds=speeds or Speeds(),
        )

    def __post_init__(self) -> None:
        """Raises ConfigError for a mix that cannot be planned, DataError for an utterance over the budget."""
        if self.window_utterances < 1:
            raise ConfigError("a window needs at least one utterance", fix="raise window_utterances")
        firsts = [stage.first_window for stage in self.stages]
        if not firsts or firsts[0] != 0 or firsts != sorted(set(firsts)):
            raise ConfigError(
                f"stages of a mix must begin at window 0 and rise, got {firsts}", fix="order the stages"
            )
        for stage in self.stages:
            _check_shares(stage.shares, catalog=self.catalog)
        used = {key for stage in self.stages for key, share in stage.shares.items() if share > 0}
        _check_budget(self.catalog, keys=used, budget=self.budget, speeds=self.speeds)

    def __getstate__(self) -> dict[str, object]:
        # What has been worked out so far is cheap to work out again and does not travel.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def windows_per_epoch(self) -> int:
        """Windows that are counted as one epoch, see the class."""
        shares = self.stages[0].shares
        utterances = np.bincount(self.catalog.key_of_row, minlength=len(self.catalog.keys))
        seconds = self.catalog.seconds_by_key
        used = [(i, key) for i, key in enumerate(self.catalog.keys) if shares.get(key, 0.0) > 0]
        utterances_per_s = sum(shares[key] * int(utterances[i]) / seconds[key] for i, key in used)
        seconds_per_window = self.window_utterances / utterances_per_s
        return max(1, math.ceil(sum(seconds[key] for _, key in used) / seconds_per_window))

    @cached_property
    def digest(self) -> str:
        """sha256 over everything the plan depends on; a position means the same only under one digest."""
        fields = {
            "catalog": self.catalog.digest,
            "stages": [[stage.first_window, sorted(stage.shares.items())] for stage in self.stages],
            "seed": self.seed,
            "budget": asdict(self.budget),
            "cost": asdict(self.cost),
            "window_utterances": self.window_utterances,
        }
        if self.speeds:
            fields["speeds"] = sorted((key, asdict(rule)) for key, rule in self.speeds.by_key.items())
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def windows(self, start: Position) -> Iterator[Window]:
        """The windows from the one at `start` on, whole and without end."""
        index = self._number_of(start)
        while True:
            yield self._window(index)
            index += 1

    def steps(self, position: Position, *, world_size: int) -> Iterator[PlannedStep]:
        """All steps from `position` on, without end.

        `position` must belong to `world_size`: see `resume` for a position of another world size.
        """
        while True:
            steps = self.window_steps(position, world_size=world_size)
            yield from steps
            position = steps[-1].after

    def window_steps(self, position: Position, *, world_size: int) -> list[PlannedStep]:
        """The steps that are still to do in the window at `position`, in order, at least one.

        Rows that earlier cuts of the window used are left out. When fewer are left than ranks, they
        are trained together with the next window; the last step's `after` says where to go on.

        Raises:
            DataError: the rows cannot be cut within the budget, or `position` lies beyond the window.
        """
        cut = self._cut(position, world_size)
        if not 0 <= position.step < len(cut.steps):
            raise DataError(
                f"{position} has no such step: {len(cut.steps)} steps of {world_size} ranks",
                fix="resume with the configuration and catalog that the checkpoint was made with",
            )
        places = [_at_step(position, step) for step in range(position.step, len(cut.steps))]
        afters = [*places[1:], self._position_of(cut.last_window + 1)]
        return [
            PlannedStep(position=place, after=after, uses=tuple(cut.uses.take(batch) for batch in step))
            for place, after, step in zip(places, afters, cut.steps[position.step :], strict=True)
        ]

    def after(self, position: Position, *, world_size: int) -> Position:
        """Where the run stands once the step at `position` is in the weights."""
        cut = self._cut(position, world_size)
        if position.step + 1 < len(cut.steps):
            return _at_step(position, position.step + 1)
        return self._position_of(cut.last_window + 1)

    def draws(self, uses: Uses) -> Draws:
        """What decides the augmentation of some uses; the same for every rank, world size and restart."""
        keys = self.catalog.key_of_row[uses.rows].astype(np.int64)
        return self.speeds.draws(uses, key_of_use=keys, keys=self.catalog.keys, seed=self.seed)

    def num_samples(self, uses: Uses) -> Int64s:
        """Samples of the audio that a batch of these uses holds, at their speeds; [N]."""
        return played_samples(num_samples(self.catalog.durations_s[uses.rows]), self.draws(uses).speeds)

    def durations_s(self, uses: Uses) -> Floats:
        """Seconds of some uses at their speeds; [N]."""
        recorded_s = self.catalog.durations_s[uses.rows].astype(np.float64)
        return _played_s(recorded_s, self.draws(uses).speeds) if self.speeds else recorded_s

    @staticmethod
    def resume(position: Position, *, old_world_size: int, new_world_size: int) -> Position:
        """The same state of the data, for another number of ranks.

        The steps taken so far move into `earlier`; the rest of the window is cut anew.
        """
        if old_world_size == new_world_size or position.step == 0:
            return position
        taken = (old_world_size, position.step)
        return Position(position.epoch, position.window, 0, (*position.earlier, taken))

    def _number_of(self, position: Position) -> int:
        return position.epoch * self.windows_per_epoch + position.window

    def _position_of(self, window_number: int) -> Position:
        return Position(*divmod(window_number, self.windows_per_epoch))

    def _window(self, number: int) -> Window:
        return Window(*divmod(number, self.windows_per_epoch), self._order.uses(number))

    def _cut(self, position: Position, world_size: int) -> _Cut:
        """The newest cut of the window at `position`; the last one made is kept."""
        key = (self._number_of(position), position.earlier, world_size)
        if key not in self._newest_cut:
            self._newest_cut.clear()
            self._newest_cut[key] = self._cut_anew(*key)
        return self._newest_cut[key]

    def _cut_anew(self, number: int, earlier: _Taken, world_size: int) -> _Cut:
        """Cut window `number` as each earlier world size did, drop what it used, cut the rest."""
        uses, last_window = self._order.uses(number), number
        for depth, (size, steps_taken) in enumerate(earlier):
            cut = self._cut_uses(uses, last_window, world_size=size, depth=depth)
            uses, last_window = cut.uses_after(steps_taken), cut.last_window
        return self._cut_uses(uses, last_window, world_size=world_size, depth=len(earlier))

    def _cut_uses(self, uses: Uses, last_window: int, *, world_size: int, depth: int) -> _Cut:
        """Cut; what is too little for whole steps joins the next window, as nothing may be dropped."""
        for joined in range(last_window, last_window + _MOST_JOINED_WINDOWS):
            if joined > last_window:
                uses = Uses.joined([uses, self._order.uses(joined)])
            steps = whole_steps(
                self.durations_s(uses),
                self.catalog.num_tokens[uses.rows],
                world_size=world_size,
                cost=self.cost,
                budget=self.budget,
                seed=seed_from(self.seed, "steps", last_window, depth),
            )
            if steps is not None:
                return _Cut(uses, steps, joined)
        raise DataError(
            f"{len(uses)} utterances make no whole steps of {world_size} batches within {self.budget}",
            fix="raise window_utterances or the batch budget, or train on fewer ranks",
        )

    @cached_property
    def _newest_cut(self) -> dict[tuple[int, _Taken, int], _Cut]:
        return {}

    @cached_property
    def _order(self) -> RowOrder:
        return RowOrder(
            self.catalog, stages=self.stages, seed=self.seed, window_utterances=self.window_utterances
        )


@dataclass(frozen=True, slots=True)
class _Cut:
    """Steps as batches of indices into `uses`, which may reach over several windows."""

    uses: Uses
    steps: list[list[Int64s]]
    last_window: int

    def uses_after(self, steps_taken: int) -> Uses:
        """What the first `steps_taken` steps leave."""
        left = np.ones(len(self.uses), dtype=np.bool_)
        for batch in itertools.chain.from_iterable(self.steps[:steps_taken]):
            left[batch] = False
        return self.uses.take(np.flatnonzero(left))


def _at_step(position: Position, step: int) -> Position:
    return Position(position.epoch, position.window, step, position.earlier)


def _played_s(recorded_s: npt.ArrayLike, speeds: Floats) -> Floats:
    """Seconds at some speeds; what is not changed keeps its number to the last bit."""
    recorded = np.asarray(recorded_s, dtype=np.float64)
    return np.where(speeds == 1, recorded, played_samples(num_samples(recorded), speeds) / SAMPLE_RATE)


def _check_shares(shares: Mapping[Key, float], *, catalog: Catalog) -> None:
    if any(not share >= 0 for share in shares.values()) or not math.isclose(
        sum(shares.values()), 1, abs_tol=1e-6
    ):
        raise ConfigError(
            f"shares of a mix must be at least 0 and sum to 1: {dict(shares)}", fix="use mix_shares"
        )
    if unknown := sorted(key for key, share in shares.items() if share > 0 and key not in catalog.keys):
        raise ConfigError(
            f"the catalog holds no audio of {', '.join(map('/'.join, unknown))}, which the mix uses",
            fix="compute the shares from the hours of this catalog",
        )


def _check_budget(catalog: Catalog, *, keys: set[Key], budget: BatchBudget, speeds: Speeds) -> None:
    """An utterance that fits no batch, at its slowest, is found here and not in the middle of a run."""
    in_use = np.array([key in keys for key in catalog.keys])
    slowest = speeds.slowest(catalog.keys)
    for start in range(0, len(catalog), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        used = in_use[catalog.key_of_row[part]] * budget.usage(
            utterances=np.ones(len(catalog.num_tokens[part]), dtype=np.int64),
            longest_s=_played_s(catalog.durations_s[part], slowest[catalog.key_of_row[part]]),
            most_tokens=catalog.num_tokens[part].astype(np.int64),
        )
        if used.max() > 1:
            row = start + int(np.argmax(used))
            place = f"row {catalog.row[row]} of row group {catalog.row_group[row]}"
            factor = slowest[catalog.key_of_row[row]]
            played = f" at {factor:g} of its speed" if factor != 1 else ""
            size = f"{catalog.durations_s[row]:.1f} s{played}, {catalog.num_tokens[row]} tokens"
            raise DataError(
                f"{place} in {catalog.shards[catalog.shard[row]]} fits no batch: {size} against {budget}",
                fix="raise the batch budget or set a lower max_duration_s",
            )
