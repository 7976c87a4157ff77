"""One window of utterances -> steps of equal-cost batches, decided on durations and token counts only.

The largest waste of transducer training is not audio padding but the lattice: a batch pays
for B x Tmax x Umax cells, so one talkative utterance makes all others pay. Hence neighbours in
both duration and tokens go together:

    rows sorted by duration -> bands -> each band sorted by tokens -> contiguous batches
    of equal predicted cost -> steps of `world_size` batches (step_order.py)

Shape letters: N rows of a window, M batches, K steps, W ranks (M = K x W).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr_ray.data.batch_cost import ENCODER_FRAME_S, BatchBudget, CostModel, Floats
from asr_ray.data.shuffle import Int64s, random_bits
from asr_ray.data.step_order import even_steps
from asr_ray.errors import DataError

__all__ = ["BatchBudget", "CostModel", "cut_into_batches", "whole_steps"]

_BANDS_TRIED = (0.4, 0.55, 0.75, 1.0, 1.4, 1.9, 2.7)
"""Numbers of duration bands to try, in units of sqrt(M); the best depends on how tokens scatter."""

_REFINEMENTS = 3

_TYPICAL_OVERHEAD = 1.5
"""Steps that equal-cost cuts need, over budget-filling ones; where the search starts."""

_DENSITY_BINS = 40


def cut_into_batches(
    durations_s: npt.ArrayLike,
    num_tokens: npt.ArrayLike,
    *,
    world_size: int,
    cost: CostModel,
    budget: BatchBudget,
    seed: int,
    kinds: Int64s | None = None,
) -> list[list[Int64s]]:
    """Cut a window into steps of `world_size` batches, every row in exactly one of them.

    Args:
        durations_s: seconds of each utterance [N].
        num_tokens: tokens of each transcript [N].
        seed: decides the order of the steps and which rank gets which batch.
        kinds: number of the kind of each utterance [N], whose seconds any run of steps shall hold as
            the window does; all one kind when None.

    Returns:
        Steps; each holds `world_size` arrays of row indices, sorted by tokens. The batches of a
        step have nearly the same predicted cost, so no rank waits for another.

    Raises:
        DataError: a single utterance exceeds the budget (its index is named), or the rows
            cannot fill a multiple of `world_size` batches.
    """
    steps = whole_steps(
        durations_s, num_tokens, world_size=world_size, cost=cost, budget=budget, seed=seed, kinds=kinds
    )
    if steps is None:
        raise DataError(
            f"{np.size(durations_s)} utterances cannot be cut into whole steps of {world_size} batches "
            f"within {budget}",
            fix="use larger windows, a larger batch budget or fewer ranks",
        )
    return steps


def whole_steps(
    durations_s: npt.ArrayLike,
    num_tokens: npt.ArrayLike,
    *,
    world_size: int,
    cost: CostModel,
    budget: BatchBudget,
    seed: int,
    kinds: Int64s | None = None,
) -> list[list[Int64s]] | None:
    """As `cut_into_batches`, but None when the rows cannot fill whole steps."""
    rows = _Rows.of(durations_s, num_tokens, cost=cost, budget=budget)
    _check_each_fits(rows, budget=budget)
    if len(rows) < world_size:
        return None
    cut = _equal_cost_cut(rows, world_size=world_size, cost=cost, budget=budget)
    cut = cut or _tightest_cut(rows, world_size=world_size, budget=budget)
    kinds = np.zeros(len(rows), dtype=np.int64) if kinds is None else kinds
    return None if cut is None else _steps(cut, rows, kinds, world_size=world_size, cost=cost, seed=seed)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A window's utterances with what every cut needs.

    Attributes:
        by_duration, by_tokens: row indices in these orders [N].
        cost: predicted cost of each row in a batch without padding [N].
        density: sum of the cost in each bin of the logarithm of the duration, and the edges of the bins.
        usage: share of the budget that each row uses alone [N].
    """

    durations_s: Floats
    num_tokens: Int64s
    by_duration: Int64s
    by_tokens: Int64s
    cost: Floats
    density: tuple[Floats, Floats]
    usage: Floats

    @classmethod
    def of(
        cls, durations_s: npt.ArrayLike, num_tokens: npt.ArrayLike, *, cost: CostModel, budget: BatchBudget
    ) -> _Rows:
        durations = np.asarray(durations_s, dtype=np.float64)
        tokens = np.asarray(num_tokens, dtype=np.int64)
        alone = np.ones(len(durations), dtype=np.int64)
        alone_cost = cost.batch_cost(utterances=alone, longest_s=durations, most_tokens=tokens) - cost.d
        return cls(
            durations,
            tokens,
            # The other quantity breaks ties, so that equal durations do not scatter tokens.
            np.lexsort((tokens, durations)),
            np.lexsort((durations, tokens)),
            alone_cost,
            _density(durations, alone_cost),
            budget.usage(utterances=alone, longest_s=durations, most_tokens=tokens),
        )

    def __len__(self) -> int:
        return len(self.durations_s)


@dataclass(frozen=True, slots=True)
class _Cut:
    """Contiguous batches over an order of the rows.

    Attributes:
        order: row indices [N]; starts: first position of each batch in it [M].
        utterances, longest_s, most_tokens: what each batch is padded to [M].
    """

    order: Int64s
    starts: Int64s
    utterances: Int64s
    longest_s: Floats
    most_tokens: Int64s

    @classmethod
    def at(cls, starts: Int64s, *, order: Int64s, rows: _Rows) -> _Cut:
        return cls(
            order,
            starts,
            np.diff(starts, append=len(order)),
            np.maximum.reduceat(rows.durations_s[order], starts),
            np.maximum.reduceat(rows.num_tokens[order], starts),
        )

    def cost(self, model: CostModel) -> Floats:
        return model.batch_cost(
            utterances=self.utterances, longest_s=self.longest_s, most_tokens=self.most_tokens
        )

    def usage(self, budget: BatchBudget) -> Floats:
        return budget.usage(
            utterances=self.utterances, longest_s=self.longest_s, most_tokens=self.most_tokens
        )


def _check_each_fits(rows: _Rows, *, budget: BatchBudget) -> None:
    if (rows.usage > 1).any():
        worst = int(np.argmax(rows.usage))
        raise DataError(
            f"utterance {worst} of the window alone exceeds the batch budget: "
            f"{rows.durations_s[worst]:.1f} s, {rows.num_tokens[worst]} tokens against {budget}",
            fix="raise the batch budget or leave out utterances that long",
        )


def _equal_cost_cut(rows: _Rows, *, world_size: int, cost: CostModel, budget: BatchBudget) -> _Cut | None:
    """The cut with the fewest steps whose equal-cost batches all fit; None when there is none.

    The number of bands is what trades audio padding against lattice padding. It is chosen once, by
    predicted time, at a first guess of the number of steps.
    """
    most_steps = len(rows) // world_size
    num_steps = min(math.ceil(_TYPICAL_OVERHEAD * float(rows.usage.sum()) / world_size), most_steps)
    candidates = [
        (bands, _banded_cut(rows, bands=bands, num_batches=num_steps * world_size, cost=cost))
        for bands in _BANDS_TRIED
    ]
    bands, cut = min(candidates, key=lambda pair: _predicted_time(pair[1].cost(cost), world_size=world_size))
    # With equal costs the fullest batch shrinks as 1 / M. Aim low, then rise until it fits.
    num_steps = max(1, math.floor(0.95 * num_steps * cut.usage(budget).max()))
    while num_steps <= most_steps:
        cut = _banded_cut(rows, bands=bands, num_batches=num_steps * world_size, cost=cost)
        fullest = float(cut.usage(budget).max())
        if fullest <= 1:
            return cut
        num_steps = max(num_steps + 1, math.floor(0.95 * num_steps * fullest))
    return None


def _predicted_time(costs: Floats, *, world_size: int) -> float:
    """Sum over steps of the slowest rank when neighbours in cost form the steps."""
    return float(np.sort(costs)[world_size - 1 :: world_size].sum())


def _banded_cut(rows: _Rows, *, bands: float, num_batches: int, cost: CostModel) -> _Cut:
    """Bands of whole batches by duration, each cut by tokens, all batches of nearly equal padded cost.

    Args:
        bands: about how many, in units of sqrt(num_batches).
    """
    in_band = _batches_in_bands(
        rows, num_bands=round(bands * math.sqrt(num_batches)), num_batches=num_batches
    )
    weights = rows.cost
    for refinement in range(_REFINEMENTS):
        band_ends = _band_ends(weights[rows.by_duration], in_band=in_band)
        order = _order_by_band_then_tokens(rows, band_ends)
        starts = _equal_starts(weights[order], in_band=in_band, band_ends=band_ends)
        cut = _Cut.at(starts, order=order, rows=rows)
        if refinement < _REFINEMENTS - 1:
            # What a row really costs depends on the padding of its batch, known only after a cut.
            padding = (cut.cost(cost) - cost.d) / np.add.reduceat(rows.cost[order], starts)
            weights = np.empty_like(rows.cost)
            weights[order] = rows.cost[order] * np.repeat(padding, cut.utterances)
    return cut


def _batches_in_bands(rows: _Rows, *, num_bands: int, num_batches: int) -> Int64s:
    """How many batches each duration band gets; sums to `num_batches`.

    A band of relative width w wastes about w / 2 of its cost. For a given number of bands that
    sum is smallest when widths go as density ** -0.5 (Panter and Dite, 1951): neither bands of equal
    cost, which leave the tails wide, nor bands of equal width.
    """
    density, edges = rows.density
    band_scale = np.concatenate([[0.0], np.cumsum(np.sqrt(density))])
    cost_scale = np.concatenate([[0.0], np.cumsum(density)])
    band_edges = np.interp(np.linspace(0.0, band_scale[-1], max(num_bands, 1) + 1), band_scale, edges)
    batches = np.interp(band_edges, edges, cost_scale) / cost_scale[-1] * num_batches
    in_band: Int64s = np.diff(np.round(batches).astype(np.int64))
    return in_band[in_band > 0]


def _density(durations_s: Floats, cost: Floats) -> tuple[Floats, Floats]:
    if not len(durations_s):
        return np.zeros(0), np.zeros(1)
    log_durations = np.log(np.maximum(durations_s, ENCODER_FRAME_S))
    density, edges = np.histogram(log_durations, bins=_DENSITY_BINS, weights=cost)
    return density.astype(np.float64), edges


def _band_ends(weights: Floats, *, in_band: Int64s) -> Int64s:
    """End of each band in duration order, so that its weight is that of `in_band` batches."""
    cumulative = np.cumsum(weights)
    batches = np.cumsum(in_band)
    targets = batches / batches[-1] * cumulative[-1]
    ends = np.searchsorted(cumulative - weights / 2, targets)
    ends[-1] = len(weights)
    return _at_least(ends, gaps=in_band, end=len(weights))


def _at_least(ends: Int64s, *, gaps: Int64s, end: int) -> Int64s:
    """Move ends as little as possible so that interval i holds at least gaps[i] rows."""
    total = np.cumsum(gaps)
    ends = np.maximum.accumulate(np.maximum(ends - total, 0)) + total
    capped: Int64s = np.minimum(ends, end - (total[-1] - total))
    return capped


def _order_by_band_then_tokens(rows: _Rows, band_ends: Int64s) -> Int64s:
    band = np.empty(len(rows), dtype=np.uint16)
    band[rows.by_duration] = np.repeat(
        np.arange(len(band_ends), dtype=np.uint16), np.diff(band_ends, prepend=0)
    )
    # A stable sort of 16-bit keys is a radix sort: no comparison sort per candidate.
    return rows.by_tokens[np.argsort(band[rows.by_tokens], kind="stable")]


def _equal_starts(weights: Floats, *, in_band: Int64s, band_ends: Int64s) -> Int64s:
    """First row of each batch, so that the batches of a band weigh the same and none is empty; [M]."""
    cumulative = np.concatenate([[0.0], np.cumsum(weights)])
    band_starts = np.concatenate([[0], band_ends[:-1]])
    first = np.concatenate([[0], np.cumsum(in_band)[:-1]])
    inside = np.arange(in_band.sum()) - np.repeat(first, in_band)
    low, high = cumulative[band_starts], cumulative[band_ends]
    targets = np.repeat(low, in_band) + inside * np.repeat((high - low) / in_band, in_band)
    starts = np.searchsorted(cumulative[1:] - weights / 2, targets)
    # Every batch keeps one row at least, and leaves one for each batch that follows in its band.
    earliest = np.repeat(band_starts, in_band) + inside
    latest = np.repeat(band_ends - in_band, in_band) + inside
    steps = np.arange(len(starts))
    starts = np.maximum.accumulate(np.maximum(starts, earliest) - steps) + steps
    capped: Int64s = np.minimum(starts, latest)
    return capped


def _tightest_cut(rows: _Rows, *, world_size: int, budget: BatchBudget) -> _Cut | None:
    """Fill batches to the brim in order of duration, then split the largest until M suits `world_size`.

    For windows in which equal-cost batches do not fit: a budget of one or two utterances, say.
    """
    order = rows.by_duration
    starts = _filled_starts(rows.durations_s[order], rows.num_tokens[order], budget=budget)
    wanted = math.ceil(len(starts) / world_size) * world_size
    if wanted > len(rows):
        return None
    by_size = [
        (-size, start) for start, size in zip(starts, np.diff([*starts, len(rows)]).tolist(), strict=True)
    ]
    heapq.heapify(by_size)
    while len(by_size) < wanted:
        size, start = heapq.heappop(by_size)
        half = -size // 2
        heapq.heappush(by_size, (-half, start))
        heapq.heappush(by_size, (size + half, start + half))
    return _Cut.at(np.sort(np.array([start for _, start in by_size], dtype=np.int64)), order=order, rows=rows)


def _filled_starts(durations_s: Floats, num_tokens: Int64s, *, budget: BatchBudget) -> list[int]:
    """Starts of batches that take rows in the given order (rising duration) as long as they fit."""
    starts = [0]
    while starts[-1] < len(durations_s):
        ahead = slice(starts[-1], starts[-1] + budget.max_utterances)
        used = budget.usage(
            utterances=np.arange(1, len(durations_s[ahead]) + 1),
            longest_s=durations_s[ahead],
            most_tokens=np.maximum.accumulate(num_tokens[ahead]),
        )
        starts.append(starts[-1] + max(1, int(np.searchsorted(used, 1.0, side="right"))))
    return starts[:-1]


def _steps(
    cut: _Cut, rows: _Rows, kinds: Int64s, *, world_size: int, cost: CostModel, seed: int
) -> list[list[Int64s]]:
    """Batches of nearly equal cost become a step; the ranks inside a step are shuffled."""
    batches = np.split(cut.order, cut.starts[1:])
    seconds = _milliseconds_by_kind(cut, rows, kinds)
    chosen = even_steps(seconds, cut.utterances, cut.cost(cost), world_size=world_size, seed=seed)
    # Which rank gets the cheapest batch must not be the same in every step.
    ranks = np.argsort(random_bits(chosen.size, seed=seed).reshape(chosen.shape), axis=1)
    chosen = np.take_along_axis(chosen, ranks, axis=1)
    return [[_by_tokens(batches[b], rows) for b in step] for step in chosen.tolist()]


def _milliseconds_by_kind(cut: _Cut, rows: _Rows, kinds: Int64s) -> Floats:
    """Audio of each kind in each batch, whole numbers; [M, kinds that there are]."""
    present, kind = np.unique(kinds[cut.order], return_inverse=True)
    cell = np.repeat(np.arange(len(cut.starts)), cut.utterances) * len(present) + kind
    milliseconds = np.rint(rows.durations_s[cut.order] * 1000)
    cells = np.bincount(cell, weights=milliseconds, minlength=len(cut.starts) * len(present))
    return cells.reshape(len(cut.starts), len(present)).astype(np.float64)


def _by_tokens(batch: Int64s, rows: _Rows) -> Int64s:
    return batch[np.argsort(rows.num_tokens[batch], kind="stable")]
