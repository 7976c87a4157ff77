"""Which utterance is trained on when, on how many ranks, from which seed: decided before audio is read.

    catalog, mixes, seed   -> windows of equal seconds, each holding its mix (row_order.py)
    window, world size     -> steps of equal-cost batches (batching.py), mixed evenly (step_order.py)
    steps, `Position`      -> what is still to come, also on another number of ranks

A mix that is due at some step begins with the first window that begins at or after it, because what is
left of a window has been taken out of its sources already. How many steps a window has depends on the
ranks, so the windows at which mixes began are part of the position. Each mix counts its seconds from
its own beginning; passes go on, so that what a source has left is used up before anything repeats.

A plan is a pure function of its fields: two machines that build it agree on every row of every step.
Nothing is read but the catalog, so any position can be looked up in moments.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from asr_ray.data.augment.speed import Draws, Speeds, Uses, num_samples, played_s, played_samples
from asr_ray.data.batch_cost import BatchBudget, CostModel, Floats
from asr_ray.data.batching import whole_steps
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key, mix_name
from asr_ray.data.plan_checks import check_budget, check_shares
from asr_ray.data.row_order import RowOrder, Stage, windows_per_turn
from asr_ray.data.shuffle import Int64s, seed_from
from asr_ray.errors import ConfigError, DataError
from asr_ray.records import Position

ORDER_VERSION = 2
"""Rises whenever the same fields give another order: a checkpoint of the order before is then refused."""

_MOST_JOINED_WINDOWS = 8

_ORDERS_KEPT = 2


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
class ScheduledMix:
    """Shares of seconds that are due from a step on (counted over the whole run, in steps of the plan)."""

    from_step: int
    shares: Mapping[Key, float]

    @cached_property
    def name(self) -> str:
        """What positions call it."""
        return mix_name(self.shares)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order of all training audio.

    An epoch is the windows in which the first mix reads as many seconds as the keys in use hold. With
    shares that follow the hours it is one pass: every utterance once.

    Attributes:
        catalog: the utterances.
        schedule: the mix and its changes, the first from step 0 on.
        seed: decides every order.
        window_utterances: a window holds about this many, never many more; see `windows_per_turn`.
        speeds: how fast utterances are played; batches are cut by what that makes of their durations,
            while shares, passes and epochs stay in seconds as recorded.
        history: mixes that held before the configuration was changed, in their order.
    """

    catalog: Catalog
    schedule: tuple[ScheduledMix, ...]
    seed: int
    budget: BatchBudget = field(default_factory=BatchBudget)
    cost: CostModel = field(default_factory=CostModel)
    window_utterances: int = 4096
    speeds: Speeds = field(default_factory=Speeds)
    history: tuple[Mapping[Key, float], ...] = ()

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
            schedule=(ScheduledMix(from_step=0, shares=shares),),
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
        firsts = [mix.from_step for mix in self.schedule]
        if not firsts or firsts[0] != 0 or firsts != sorted(set(firsts)):
            raise ConfigError(
                f"the schedule of a mix must begin at step 0 and rise, got {firsts}", fix="order its entries"
            )
        mixes = [*self.history, *(mix.shares for mix in self.schedule)]
        for shares in mixes:
            check_shares(shares, catalog=self.catalog)
        used = {key for shares in mixes for key, share in shares.items() if share > 0}
        check_budget(self.catalog, keys=used, budget=self.budget, speeds=self.speeds)

    def __getstate__(self) -> dict[str, object]:
        # What has been worked out so far is cheap to work out again and does not travel.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def windows_per_epoch(self) -> int:
        """Windows that are counted as one epoch, see the class."""
        return windows_per_turn(self.catalog, self._first_shares, window_utterances=self.window_utterances)

    @property
    def _first_shares(self) -> Mapping[Key, float]:
        return self.history[0] if self.history else self.schedule[0].shares

    @property
    def digest(self) -> str:
        """sha256 over everything that decides what is still to come."""
        stages = [[mix.from_step, sorted(mix.shares.items())] for mix in self.schedule]
        return _digest({**self._fixed, "stages": stages})

    @property
    def place_digest(self) -> str:
        """sha256 over all but the mix, which may change: what a position needs in order to mean the same."""
        return _digest(self._fixed)

    @property
    def _fixed(self) -> dict[str, object]:
        fixed: dict[str, object] = {
            "order": ORDER_VERSION,
            "catalog": self.catalog.digest,
            "seed": self.seed,
            "budget": asdict(self.budget),
            "cost": asdict(self.cost),
            "window_utterances": self.window_utterances,
        }
        if self.speeds:
            fixed["speeds"] = sorted((key, asdict(rule)) for key, rule in self.speeds.by_key.items())
        return fixed

    def windows(self, start: Position) -> Iterator[Window]:
        """The windows from the one at `start` on, whole and without end, under the mixes of `start`."""
        for number in itertools.count(self._number_of(start)):
            yield Window(*divmod(number, self.windows_per_epoch), self._order(start).uses(number))

    def steps(self, position: Position, *, world_size: int, steps_taken: int = 0) -> Iterator[PlannedStep]:
        """All steps from `position` on, without end.

        `position` must belong to `world_size`: see `resume` for a position of another world size.

        Args:
            steps_taken: steps that the run took before `position`; what the schedule counts.
        """
        while True:
            position = self.marked(position, steps_taken=steps_taken)
            steps = self.window_steps(position, world_size=world_size)
            yield from steps
            position, steps_taken = steps[-1].after, steps_taken + len(steps)

    def marked(self, position: Position, *, steps_taken: int) -> Position:
        """`position` with the mix that begins there; as it is inside a window or when the mix goes on."""
        if position.step or position.earlier:
            return position
        due = [mix for mix in self.schedule if mix.from_step <= steps_taken][-1]
        if position.mixes and position.mixes[-1][1] == due.name:
            return position
        return replace(position, mixes=(*position.mixes, (self._number_of(position), due.name)))

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
        places = [replace(position, step=step) for step in range(position.step, len(cut.steps))]
        afters = [*places[1:], self._behind(cut, position)]
        return [
            PlannedStep(position=place, after=after, uses=tuple(cut.uses.take(batch) for batch in step))
            for place, after, step in zip(places, afters, cut.steps[position.step :], strict=True)
        ]

    def after(self, position: Position, *, world_size: int) -> Position:
        """Where the run stands once the step at `position` is in the weights."""
        cut = self._cut(position, world_size)
        if position.step + 1 < len(cut.steps):
            return replace(position, step=position.step + 1)
        return self._behind(cut, position)

    def target_seconds(self, position: Position, *, total_s: float) -> dict[Key, float]:
        """What the mixes up to `position` ask of each key, of `total_s` seconds in all."""
        stages, order = self._stages(position), self._order(position)
        starts_s = [order.seconds_before(stage.first_window) for stage in stages]
        spans_s = np.diff([*starts_s, max(total_s, starts_s[-1])])
        # Steps that were skipped are missing in the total, and nobody knows of which mix they were.
        scale = total_s / max(total_s, starts_s[-1]) if total_s else 0.0
        seconds = dict.fromkeys(self.catalog.keys, 0.0)
        for stage, span_s in zip(stages, spans_s.tolist(), strict=True):
            for key, share in stage.shares.items():
                seconds[key] = seconds.get(key, 0.0) + share * span_s * scale
        return seconds

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
        return played_s(recorded_s, self.draws(uses).speeds) if self.speeds else recorded_s

    @staticmethod
    def resume(position: Position, *, old_world_size: int, new_world_size: int) -> Position:
        """The same state of the data, for another number of ranks.

        The steps taken so far move into `earlier`; the rest of the window is cut anew.
        """
        if old_world_size == new_world_size or position.step == 0:
            return position
        taken = (old_world_size, position.step)
        return replace(position, step=0, earlier=(*position.earlier, taken))

    def _number_of(self, position: Position) -> int:
        return position.epoch * self.windows_per_epoch + position.window

    def _behind(self, cut: _Cut, position: Position) -> Position:
        """The start of the first window that `cut` does not reach."""
        return Position(*divmod(cut.last_window + 1, self.windows_per_epoch), mixes=position.mixes)

    def _cut(self, position: Position, world_size: int) -> _Cut:
        """The newest cut of the window at `position`; the last one made is kept."""
        key = (self._number_of(position), position.earlier, world_size, position.mixes)
        if key not in self._newest_cut:
            self._newest_cut.clear()
            self._newest_cut[key] = self._cut_anew(position, world_size)
        return self._newest_cut[key]

    def _cut_anew(self, position: Position, world_size: int) -> _Cut:
        """Cut a window as each earlier world size did, drop what it used, cut the rest."""
        order, last_window = self._order(position), self._number_of(position)
        uses = order.uses(last_window)
        for depth, (size, steps_taken) in enumerate(position.earlier):
            cut = self._cut_uses(uses, last_window, order=order, world_size=size, depth=depth)
            uses, last_window = cut.uses_after(steps_taken), cut.last_window
        depth = len(position.earlier)
        return self._cut_uses(uses, last_window, order=order, world_size=world_size, depth=depth)

    def _cut_uses(
        self, uses: Uses, last_window: int, *, order: RowOrder, world_size: int, depth: int
    ) -> _Cut:
        """Cut; what is too little for whole steps joins the next window, as nothing may be dropped."""
        for joined in range(last_window, last_window + _MOST_JOINED_WINDOWS):
            if joined > last_window:
                uses = Uses.joined([uses, order.uses(joined)])
            steps = whole_steps(
                self.durations_s(uses),
                self.catalog.num_tokens[uses.rows],
                world_size=world_size,
                cost=self.cost,
                budget=self.budget,
                seed=seed_from(self.seed, "steps", last_window, depth),
                kinds=self.catalog.key_of_row[uses.rows].astype(np.int64),
            )
            if steps is not None:
                return _Cut(uses, steps, joined)
        raise DataError(
            f"{len(uses)} utterances make no whole steps of {world_size} batches within {self.budget}",
            fix="raise window_utterances or the batch budget, or train on fewer ranks",
        )

    def _stages(self, position: Position) -> list[Stage]:
        marks = position.mixes or ((0, mix_name(self._first_shares)),)
        known = {mix.name: mix.shares for mix in self.schedule}
        known |= {mix_name(shares): shares for shares in self.history}
        if unknown := [name for _, name in marks if name not in known]:
            raise DataError(
                f"{position} was reached with the mix {unknown[0]}, which this plan does not know",
                fix="resume from the checkpoint that the position belongs to",
            )
        return [Stage(first_window=first, shares=known[name]) for first, name in marks]

    def _order(self, position: Position) -> RowOrder:
        """The order under the mixes of `position`; kept for the newest two, as neighbours take turns."""
        orders = self._newest_orders
        if position.mixes not in orders:
            if len(orders) == _ORDERS_KEPT:
                del orders[next(iter(orders))]
            orders[position.mixes] = RowOrder(
                self.catalog,
                stages=self._stages(position),
                seed=self.seed,
                window_utterances=self.window_utterances,
            )
        return orders[position.mixes]

    @cached_property
    def _newest_cut(self) -> dict[object, _Cut]:
        return {}

    @cached_property
    def _newest_orders(self) -> dict[object, RowOrder]:
        return {}


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


def _digest(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
