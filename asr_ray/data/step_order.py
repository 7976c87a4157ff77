"""Batches of a window -> steps and their order, so that any run of steps holds the mix in seconds.

    neighbours in cost are a step -> steps in greedy order
      -> batches of nearly equal cost change steps, then steps change places, while that helps

A batch holds utterances of one length, and locales differ in length and in tokens, so a batch is
seldom mixed as its window is. What it has too much or too little of each kind is its vector; vectors
add up to zero over the window. What counts is their sum up to each place of the order: the distance
between two such sums is how far the steps between them are off the mix. The greedy order takes next what
keeps the sum smallest (herding, Welling, 2009); exchanges then lower the sum of squares over all places.

All numbers are whole and far below 2**53, so every sum is exact in any order of adding up: plans agree
between machines whose linear algebra does not.

Shape letters: M batches, K steps, W ranks (M = K x W), Q quantities that are kept even.
"""

from __future__ import annotations

import numpy as np

from asr_ray.data.batch_cost import Floats
from asr_ray.data.shuffle import Int64s, permutation, uniforms

_TRADED_COST = 0.03
"""Batches that differ more in cost are not exchanged: what the ranks of their steps would wait is dearer."""

_MOST_BATCHES, _MOST_STEPS = 512, 128
"""In windows of more the greedy order stands. Either a step is so much audio that it is enough, or there
are so many steps that exchanges find little (measured) and cost more than all the rest."""

_MOST_ROUNDS = 40

_TRIED_PER_ROUND = 32

_HERDED_TOGETHER = 1024

_UNITS_PER_BATCH = 4096

_COUNT_WEIGHT = 0.1
"""Of the number of utterances against the seconds of kinds: enough that lengths do not wander."""


def even_steps(seconds_by_kind: Floats, sizes: Int64s, cost: Floats, *, world_size: int, seed: int) -> Int64s:
    """Choose the batches of each step and the order of the steps.

    Args:
        seconds_by_kind: whole numbers in any unit of time, of each batch; [M, kinds].
        sizes: utterances of each batch [M].
        cost: predicted cost of each batch [M].
        seed: decides which step the greedy order begins with.

    Returns:
        Indices of batches [K, W]. The batches of a step are neighbours in cost, or within
        `_TRADED_COST` of each other.
    """
    by_cost = np.argsort(cost, kind="stable")
    off = _off_the_mix(seconds_by_kind, sizes)[by_cost]
    steps = np.arange(len(by_cost) // world_size)
    places = _greedy_places(_sums(off, np.repeat(steps, world_size)), seed=seed).repeat(world_size)
    if world_size > 1 and len(off) <= _MOST_BATCHES:
        places = _exchanged(off, places, tradable=_same_cost(cost[by_cost], world_size=world_size))
    if len(steps) <= _MOST_STEPS:
        places = _exchanged(_sums(off, places), steps, tradable=np.zeros_like(steps))[places]
    return by_cost[np.argsort(places, kind="stable")].reshape(-1, world_size)


def _off_the_mix(seconds_by_kind: Floats, sizes: Int64s) -> Floats:
    """What each batch has more of each kind than its part of the window, and more utterances; [M, Q].

    Whole numbers of units of which the average batch holds `_UNITS_PER_BATCH`.
    """
    total = seconds_by_kind.sum()
    mix = seconds_by_kind.sum(axis=0) / total
    excess = seconds_by_kind - seconds_by_kind.sum(axis=1, keepdims=True) * mix
    surplus = (sizes - sizes.sum() / len(sizes)) * (_COUNT_WEIGHT * total / sizes.sum())
    off: Floats = np.rint(np.column_stack([excess, surplus]) * (_UNITS_PER_BATCH * len(sizes) / total))
    return off


def _sums(off: Floats, places: Int64s) -> Floats:
    """Vectors added up by place; [K, Q]."""
    sums = np.zeros((int(places.max()) + 1, off.shape[1]))
    np.add.at(sums, places, off)
    return sums


def _greedy_places(off: Floats, *, seed: int) -> Int64s:
    """Place of each step in the greedy order; [K]. More than can be compared at once go part by part."""
    places = np.empty(len(off), dtype=np.int64)
    parts = np.array_split(permutation(len(off), seed=seed), -(-len(off) // _HERDED_TOGETHER))
    begin, place = np.zeros(off.shape[1]), 0
    # Were it the smallest as well, every window would begin with its most ordinary step.
    chosen = int(uniforms(1, seed=seed)[0] * len(parts[0]))
    for part in parts:
        products = 2 * (off[part] @ off[part].T)
        # What the squared sum grows by with each step, and whether it is still to be had.
        growth = np.diag(products) / 2 + 2 * (off[part] @ begin)
        for _ in range(len(part)):
            if place:
                chosen = int(np.argmin(growth))
            places[part[chosen]] = place
            growth += products[chosen]
            growth[chosen] = np.inf
            place += 1
        begin = begin + off[part].sum(axis=0)
    return places


def _same_cost(cost: Floats, *, world_size: int) -> Int64s:
    """For each batch (in the order of cost) the first step of the run of steps within `_TRADED_COST`; [M]."""
    lowest, highest = cost[::world_size], cost[world_size - 1 :: world_size]
    first = np.zeros(len(lowest), dtype=np.int64)
    for step in range(1, len(first)):
        fits = highest[step] <= (1 + _TRADED_COST) * lowest[first[step - 1]]
        first[step] = first[step - 1] if fits else step
    return first.repeat(world_size)


def _exchanged(off: Floats, places: Int64s, *, tradable: Int64s) -> Int64s:
    """Exchange the places of two vectors at a time while that lowers the sum of squares; [vectors].

    Args:
        off: vectors [V, Q]; places: of each [V].
        tradable: only those with the same number here are exchanged [V].
    """
    one, two = np.nonzero(np.triu(tradable[:, None] == tradable, 1))
    places, products = places.copy(), off @ off.T
    squares = np.diag(products)
    apart = squares[one] + squares[two] - 2 * products[one, two]
    # With E the sum up to a place, pull[v, p] is vector v times the sum of all E before place p.
    sums = np.cumsum(_sums(off, places), axis=0)
    pull = off @ (np.cumsum(sums, axis=0) - sums).T
    row_of_one, row_of_two, ramp = one * pull.shape[1], two * pull.shape[1], np.arange(pull.shape[1])
    for _ in range(_MOST_ROUNDS):
        here, there, flat = places[one], places[two], pull.ravel()
        gained = flat[row_of_one + here] - flat[row_of_one + there]
        gained += flat[row_of_two + there] - flat[row_of_two + here]
        change = 2 * gained + np.abs(here - there) * apart
        better = np.flatnonzero(change < 0)
        if not len(better):
            break
        better = better[np.argsort(change[better], kind="stable")[:_TRIED_PER_ROUND]]
        chosen = _not_across(here[better], there[better])
        early, late = one[better[chosen]], two[better[chosen]]
        swap = places[early] > places[late]
        early, late = np.where(swap, late, early), np.where(swap, early, late)
        first, last = places[early, None], places[late, None]
        pull += (products[late] - products[early]).T @ np.clip(ramp - first, 0, last - first)
        places[early], places[late] = last[:, 0], first[:, 0]
    return places


def _not_across(here: Int64s, there: Int64s) -> list[int]:
    """Exchanges, the best first, of which no two touch the same places and so change each other's gain."""
    taken, chosen = 0, list[int]()
    for number, (a, b) in enumerate(zip(here.tolist(), there.tolist(), strict=True)):
        low, high = min(a, b), max(a, b)
        span = (1 << (high + 1)) - (1 << low)
        if not taken & span:
            taken |= span
            chosen.append(number)
    return chosen
