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

from asr_ray.data.batch_cost import BatchBudget, CostModel, lattice_cells
from asr_ray.data.batching import whole_steps
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key
from asr_ray.data.row_order import RowOrder, Stage
from asr_ray.data.shuffle import Int64s, seed_from
from asr_ray.errors import ConfigError, DataError
from asr_ray.records import Position

_Taken = tuple[tuple[int, int], ...]
"""(world size, steps taken) of earlier cuts of a window, see `Position.earlier`."""

_MOST_JOINED_WINDOWS = 8

_ROWS_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class Window:
    """Some thousands of utterances that are cut into batches together.

    Attributes:
        rows: catalog row indices [N]; a row appears twice when a pass of its key ends inside the window.
    """

    epoch: int
    index: int
    rows: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One optimiser step: batch r of `batches` belongs to rank r.

    Attributes:
        position: where the run stands before this step.
        after: where it stands once this step is in the weights; what a checkpoint keeps.
        batches: catalog row indices of each rank, sorted by tokens.
    """

    position: Position
    after: Position
    batches: tuple[Int64s, ...]


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
    """

    catalog: Catalog
    stages: tuple[Stage, ...]
    seed: int
    budget: BatchBudget = field(default_factory=BatchBudget)
    cost: CostModel = field(default_factory=CostModel)
    window_utterances: int = 4096

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
    ) -> Plan:
        """A plan whose mix never changes."""
        return cls(
            catalog=catalog,
            stages=(Stage(first_window=0, shares=shares),),
            seed=seed,
            budget=budget or BatchBudget(),
            cost=cost or CostModel(),
            window_utterances=window_utterances,
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
        _check_budget(self.catalog, keys=used, budget=self.budget)

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
            PlannedStep(position=place, after=after, batches=tuple(cut.rows[batch] for batch in step))
            for place, after, step in zip(places, afters, cut.steps[position.step :], strict=True)
        ]

    def after(self, position: Position, *, world_size: int) -> Position:
        """Where the run stands once the step at `position` is in the weights."""
        cut = self._cut(position, world_size)
        if position.step + 1 < len(cut.steps):
            return _at_step(position, position.step + 1)
        return self._position_of(cut.last_window + 1)

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
        return Window(*divmod(number, self.windows_per_epoch), self._order.rows(number))

    def _cut(self, position: Position, world_size: int) -> _Cut:
        """The newest cut of the window at `position`; the last one made is kept."""
        key = (self._number_of(position), position.earlier, world_size)
        if key not in self._newest_cut:
            self._newest_cut.clear()
            self._newest_cut[key] = self._cut_anew(*key)
        return self._newest_cut[key]

    def _cut_anew(self, number: int, earlier: _Taken, world_size: int) -> _Cut:
        """Cut window `number` as each earlier world size did, drop what it used, cut the rest."""
        rows, last_window = self._order.rows(number), number
        for depth, (size, steps_taken) in enumerate(earlier):
            cut = self._cut_rows(rows, last_window, world_size=size, depth=depth)
            rows, last_window = cut.rows_after(steps_taken), cut.last_window
        return self._cut_rows(rows, last_window, world_size=world_size, depth=len(earlier))

    def _cut_rows(self, rows: Int64s, last_window: int, *, world_size: int, depth: int) -> _Cut:
        """Cut rows; what is too little for whole steps joins the next window, as nothing may be dropped."""
        for joined in range(last_window, last_window + _MOST_JOINED_WINDOWS):
            if joined > last_window:
                rows = np.concatenate([rows, self._order.rows(joined)])
            steps = whole_steps(
                self.catalog.durations_s[rows],
                self.catalog.num_tokens[rows],
                world_size=world_size,
                cost=self.cost,
                budget=self.budget,
                seed=seed_from(self.seed, "steps", last_window, depth),
            )
            if steps is not None:
                return _Cut(rows, steps, joined)
        raise DataError(
            f"{len(rows)} utterances make no whole steps of {world_size} batches within {self.budget}",
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
    """Steps as batches of indices into `rows`, which may reach over several windows."""

    rows: Int64s
    steps: list[list[Int64s]]
    last_window: int

    def rows_after(self, steps_taken: int) -> Int64s:
        """Rows that the first `steps_taken` steps leave."""
        used = np.zeros(len(self.rows), dtype=np.bool_)
        for batch in itertools.chain.from_iterable(self.steps[:steps_taken]):
            used[batch] = True
        return self.rows[~used]


def _at_step(position: Position, step: int) -> Position:
    return Position(position.epoch, position.window, step, position.earlier)


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


def _check_budget(catalog: Catalog, *, keys: set[Key], budget: BatchBudget) -> None:
    """An utterance that fits no batch is found here and not in the middle of a run."""
    in_use = np.array([key in keys for key in catalog.keys])
    for start in range(0, len(catalog), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        used = in_use[catalog.key_of_row[part]] * budget.usage(
            utterances=np.ones(len(catalog.num_tokens[part]), dtype=np.int64),
            longest_s=catalog.durations_s[part].astype(np.float64),
            most_tokens=catalog.num_tokens[part].astype(np.int64),
        )
        if used.max() > 1:
            row = start + int(np.argmax(used))
            place = f"row {catalog.row[row]} of row group {catalog.row_group[row]}"
            size = f"{catalog.durations_s[row]:.1f} s, {catalog.num_tokens[row]} tokens"
            raise DataError(
                f"{place} in {catalog.shards[catalog.shard[row]]} fits no batch: {size} against {budget}",
                fix="raise the batch budget or set a lower max_duration_s",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """What the largest batch of a plan holds, limit by limit (not always the same batch)."""

    padded_s: float
    utterances: int
    lattice_cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What a number of steps will read and waste.

    Attributes:
        seconds: audio of each key, padding not counted.
        passes: how often each key is read (its seconds / what the catalog holds of it).
        audio_padding: 1 - audio / padded audio.
        lattice_padding: 1 - cells of the utterances / cells of the padded batches.
        step_efficiency: mean over steps of mean / largest predicted cost of the ranks.
    """

    steps: int
    seconds: Mapping[Key, float]
    passes: Mapping[Key, float]
    audio_padding: float
    lattice_padding: float
    step_efficiency: float
    largest_batch: BatchSize


def plan_summary(plan: Plan, *, steps: int, world_size: int) -> PlanSummary:
    """Walk through the first `steps` steps of `plan` on metadata and sum up."""
    if steps < 1:
        raise ConfigError(f"a summary needs at least one step, got {steps}", fix="plan more steps")
    batches = list(
        itertools.chain.from_iterable(
            step.batches for step in itertools.islice(plan.steps(Position(), world_size=world_size), steps)
        )
    )
    return _summary(plan, batches=batches, world_size=world_size)


def _summary(plan: Plan, *, batches: list[Int64s], world_size: int) -> PlanSummary:
    catalog = plan.catalog
    rows = np.concatenate(batches)
    utterances = np.array([len(batch) for batch in batches])
    starts = np.cumsum(utterances) - utterances
    durations_s, num_tokens = (
        catalog.durations_s[rows].astype(np.float64),
        catalog.num_tokens[rows].astype(np.int64),
    )
    longest_s, most_tokens = np.maximum.reduceat(durations_s, starts), np.maximum.reduceat(num_tokens, starts)
    cells = lattice_cells(utterances=utterances, longest_s=longest_s, most_tokens=most_tokens)
    own_cells = lattice_cells(utterances=np.ones_like(rows), longest_s=durations_s, most_tokens=num_tokens)
    cost = plan.cost.batch_cost(utterances=utterances, longest_s=longest_s, most_tokens=most_tokens)
    by_step = cost.reshape(-1, world_size)
    seconds = np.bincount(catalog.key_of_row[rows], weights=durations_s, minlength=len(catalog.keys))
    by_key = dict(zip(catalog.keys, seconds.tolist(), strict=True))
    return PlanSummary(
        steps=len(by_step),
        seconds=by_key,
        passes={key: total / catalog.seconds_by_key[key] for key, total in by_key.items()},
        audio_padding=1 - float(durations_s.sum() / (utterances * longest_s).sum()),
        lattice_padding=1 - float(own_cells.sum() / cells.sum()),
        step_efficiency=float((by_step.mean(axis=1) / by_step.max(axis=1)).mean()),
        largest_batch=BatchSize(
            padded_s=float((utterances * longest_s).max()),
            utterances=int(utterances.max()),
            lattice_cells=int(cells.max()),
        ),
    )
