"""What may stand in place of a value: a range to search in. Pure; knows no configuration.

    {uniform: [0.0, 1.0]}        any number between, both ends included
    {loguniform: [1e-4, 1e-2]}   the same, even on a logarithmic scale
    {choice: [none, encoder]}    one of these
    {simplex: {scarce: [el-GR], rich: [bg-BG]}, min_share: 0.05}
                                 shares of groups of locales, which sum to 1, at `data.mix.ratios`

Values of a simplex are mappings group -> share.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asr_ray.errors import ConfigError

_NUMBERS = ("uniform", "loguniform")
_WORDS = (*_NUMBERS, "choice", "simplex")
_MIN_SHARE = "min_share"
_DEFAULT_MIN_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Numbers from `low` to `high`.

    Attributes:
        is_log: even on a logarithmic scale.
        is_whole: whole numbers only.
    """

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a value."""
        return self.at(float(rng.random()))

    def at(self, part: float) -> float:
        """Return the value at a part of the way from `low` (0) to `high` (1)."""
        if self.is_log:
            value = self.low * (self.high / self.low) ** part
        else:
            value = self.low + (self.high - self.low) * part
        return self.clipped(value)

    def part_of(self, value: float) -> float:
        """Return where a value lies, the inverse of `at`; outside of 0 to 1 for values outside."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def clipped(self, value: float) -> float:
        """Return the nearest value of the range."""
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_whole else value

    def grid(self, points: int) -> list[float]:
        """Return `points` values, both ends among them; fewer where whole numbers coincide."""
        return list(dict.fromkeys(self.at(index / (points - 1)) for index in range(points)))

    def extremes(self) -> list[float]:
        """Return the values at which a rule of the configuration breaks, if it breaks anywhere."""
        return [self.low, self.high]

    def middle(self) -> float:
        """Return the value half-way."""
        return self.at(0.5)

    def moved(self, value: float, *, factors: tuple[float, float], rng: np.random.Generator) -> float:
        """Return the value times one of the factors."""
        return self.clipped(value * factors[int(rng.integers(2))])

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and not (self.is_whole and value != round(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of some values, whatever they are."""

    options: tuple[Any, ...]

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value."""
        return self.options[int(rng.integers(len(self.options)))]

    def grid(self, points: int) -> list[Any]:
        """Return all values, however many `points` are asked for."""
        return list(self.options)

    def extremes(self) -> list[Any]:
        """Return all values."""
        return list(self.options)

    def middle(self) -> Any:
        """Return the first value."""
        return self.options[0]

    def moved(self, value: Any, *, factors: tuple[float, float], rng: np.random.Generator) -> Any:
        """Return one of the two neighbours in the list, or the value at its end."""
        index = self.options.index(value) + (-1, 1)[int(rng.integers(2))]
        return self.options[min(max(index, 0), len(self.options) - 1)]

    def holds(self, value: Any) -> bool:
        """Whether this is one of the values."""
        return value in self.options


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplex:
    """Shares of groups of locales, which sum to 1.

    Attributes:
        groups: name -> its locales.
        min_share: of each group; nothing can be learned from a share of 0.
    """

    groups: Mapping[str, tuple[str, ...]] = field(hash=False)
    min_share: float = _DEFAULT_MIN_SHARE

    @property
    def locales(self) -> tuple[str, ...]:
        """The locales of all groups."""
        return tuple(itertools.chain.from_iterable(self.groups.values()))

    def sample(self, rng: np.random.Generator) -> dict[str, float]:
        """Draw shares, even over the simplex (Dirichlet with all parameters 1)."""
        return self.shares_at(rng.dirichlet(np.ones(len(self.groups))).tolist())

    def shares_at(self, parts: Sequence[float]) -> dict[str, float]:
        """Return the shares at barycentric coordinates of the simplex that `min_share` leaves (sum 1)."""
        free = 1.0 - self.min_share * len(self.groups)
        total = math.fsum(parts)
        return {
            name: self.min_share + free * part / total for name, part in zip(self.groups, parts, strict=True)
        }

    def parts_of(self, shares: Mapping[str, float]) -> list[float]:
        """Return the barycentric coordinates of some shares, the inverse of `shares_at`."""
        free = 1.0 - self.min_share * len(self.groups)
        return [(shares[name] - self.min_share) / free for name in self.groups]

    def grid(self, points: int) -> list[dict[str, float]]:
        """Return the lattice with `points` - 1 steps along each edge (Scheffe's simplex-lattice design)."""
        steps = points - 1
        counts = itertools.product(range(steps + 1), repeat=len(self.groups))
        return [self.shares_at(count) for count in counts if sum(count) == steps]

    def extremes(self) -> list[dict[str, float]]:
        """Return the corners: one group has all that `min_share` leaves."""
        return self.grid(2)

    def middle(self) -> dict[str, float]:
        """Return equal shares."""
        return self.shares_at([1.0] * len(self.groups))

    def moved(
        self, value: Mapping[str, float], *, factors: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, float]:
        """Return the shares with each group's part times one of the factors, scaled to their sum."""
        drawn = [factors[index] for index in rng.integers(2, size=len(self.groups)).tolist()]
        parts = [max(part, 0.0) for part in self.parts_of(value)]
        return self.shares_at([part * factor for part, factor in zip(parts, drawn, strict=True)])

    def holds(self, value: Any) -> bool:
        """Whether these are shares of all groups, each within its limits, of sum 1."""
        if not isinstance(value, Mapping) or value.keys() != self.groups.keys():
            return False
        low = self.min_share - 1e-9
        return all(share >= low for share in value.values()) and abs(math.fsum(value.values()) - 1) < 1e-6


Range = Interval | Choice | Simplex


def is_range(value: Any) -> bool:
    """Whether what stands in a file is meant as a range.

    A section whose own key is one of the words (a source that is called `uniform`) is none: what a range
    says of numbers and choices is a list.
    """
    if not isinstance(value, Mapping):
        return False
    return any(
        word in value and isinstance(value[word], Mapping) == (word == "simplex") for word in _WORDS
    ) and value.keys() <= {*_WORDS, _MIN_SHARE}


def parse_range(value: Mapping[str, Any], *, key: str, where: str, is_whole: bool = False) -> Range:
    """Read a range.

    Args:
        key: dotted, for messages.
        where: file or override that it comes from.
        is_whole: the key takes whole numbers.

    Raises:
        ConfigError: it is no range, or an empty one.
    """
    words = [word for word in _WORDS if word in value]
    place = f"{where}: {key}"
    if len(words) != 1 or (_MIN_SHARE in value and words != ["simplex"]):
        raise ConfigError(
            f"{place}: {dict(value)} is no range",
            fix=f"write one of {', '.join(_WORDS)} (min_share goes with simplex)",
        )
    word = words[0]
    if word == "simplex":
        return _simplex(value[word], min_share=value.get(_MIN_SHARE, _DEFAULT_MIN_SHARE), place=place)
    if word == "choice":
        return _choice(value[word], place=place)
    return _interval(value[word], is_log=word == "loguniform", is_whole=is_whole, place=place)


def _interval(ends: Any, *, is_log: bool, is_whole: bool, place: str) -> Interval:
    word = "loguniform" if is_log else "uniform"
    if (
        not isinstance(ends, Sequence)
        or len(ends) != 2
        or not all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
    ):
        # YAML 1.1 reads 1e-4 as text: a number needs a point there.
        is_text = isinstance(ends, Sequence) and any(isinstance(end, str) for end in ends)
        hint = " (YAML reads 1e-4 as text, write 1.0e-4)" if is_text else ""
        raise ConfigError(
            f"{place}: {word} {ends} is not two numbers{hint}", fix=f"write {word}: [low, high]"
        )
    low, high = ends
    if not low < high:
        raise ConfigError(f"{place}: {word} [{low}, {high}] is empty", fix="put the lower end first")
    if is_log and low <= 0:
        raise ConfigError(f"{place}: loguniform begins at {low}", fix="begin above 0, or write uniform")
    if is_whole and (low != round(low) or high != round(high)):
        raise ConfigError(
            f"{place} takes whole numbers, but {word} is [{low}, {high}]", fix="give whole ends"
        )
    return Interval(low=low, high=high, is_log=is_log, is_whole=is_whole)


def _choice(options: Any, *, place: str) -> Choice:
    if not isinstance(options, Sequence) or isinstance(options, str) or not options:
        raise ConfigError(f"{place}: choice {options!r} is no list of values", fix="write choice: [a, b]")
    if any(option in options[:index] for index, option in enumerate(options)):
        raise ConfigError(f"{place}: choice {options} names a value twice", fix="take one of them out")
    return Choice(options=tuple(options))


def _simplex(groups: Any, *, min_share: Any, place: str) -> Simplex:
    if len(groups) < 2 or not all(
        isinstance(locales, Sequence) and not isinstance(locales, str) and locales
        for locales in groups.values()
    ):
        raise ConfigError(
            f"{place}: a simplex needs two groups or more, each a list of locales, got {groups}",
            fix="write simplex: {scarce: [el-GR], rich: [bg-BG]}",
        )
    named = [str(locale) for locales in groups.values() for locale in locales]
    if twice := sorted({locale for locale in named if named.count(locale) > 1}):
        raise ConfigError(
            f"{place}: {', '.join(twice)} is in two groups", fix="leave each locale in one of them"
        )
    if not isinstance(min_share, int | float) or not 0 < min_share < 1 / len(groups):
        raise ConfigError(
            f"{place}: min_share {min_share!r} does not fit {len(groups)} groups",
            fix=f"give a number above 0 and below {1 / len(groups):.2g}",
        )
    return Simplex(
        groups={str(name): tuple(map(str, locales)) for name, locales in groups.items()},
        min_share=float(min_share),
    )
