"""Speed perturbation as far as it concerns planning: who is played how fast, and how long that takes.

Everything else that augmentation does leaves the length alone. Speed does not, so it is decided on
metadata, by the same functions in the plan and in the reading task: a batch holds exactly the samples it
was planned with.

    seed, catalog row, pass -> key -> factor -> samples

The pass is the number of times that the source has been used up before: an utterance is drawn for
anew each time it comes round, and in the same way on any number of ranks and after any restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asr_ray.data.batch_cost import Floats
from asr_ray.data.mix import Key
from asr_ray.data.shuffle import Int64s, UInt64s, first_uniforms, keys_of, seed_from
from asr_ray.errors import ConfigError
from asr_ray.records import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Uses:
    """Utterances as they are trained on: which, and for the how manieth time.

    Attributes:
        rows: catalog row indices [N].
        passes: how often the source of each had been used up before [N].
    """

    rows: Int64s
    passes: Int64s

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Int64s) -> Uses:
        """Those at some indices, or under a mask."""
        return Uses(self.rows[chosen], self.passes[chosen])

    @classmethod
    def joined(cls, parts: Sequence[Uses]) -> Uses:
        """All parts, one after the other."""
        return cls(np.concatenate([p.rows for p in parts]), np.concatenate([p.passes for p in parts]))


@dataclass(frozen=True, slots=True)
class Draws:
    """What decides the augmentation of some uses.

    Attributes:
        keys: seeds of everything that is drawn for one use, uint64 [N].
        speeds: factors of the speed, 1 for an untouched one [N].
    """

    keys: UInt64s
    speeds: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRule:
    """With `probability` one of `factors`, all equally likely; 1.1 is faster and shorter by a tenth."""

    factors: tuple[float, ...]
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not self.factors or min(self.factors) <= 0 or not 0 <= self.probability <= 1:
            raise ConfigError(
                f"a speed needs factors above 0 and a probability up to 1, got {self}",
                fix="correct the speed of the augmentation",
            )

    @property
    def slowest(self) -> float:
        """The factor that makes an utterance longest."""
        return min(1.0, *self.factors)

    def factors_for(self, uniforms: Floats) -> Floats:
        """Factor for each number in [0, 1); arrays [N]."""
        place = np.floor(uniforms / self.probability * len(self.factors)) if self.probability else uniforms
        factors = np.array(self.factors)[np.minimum(place.astype(np.int64), len(self.factors) - 1)]
        return np.where(uniforms < self.probability, factors, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """The speeds of a run, by key; a key without a rule is not touched."""

    by_key: Mapping[Key, SpeedRule] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_key)

    def draws(self, uses: Uses, *, key_of_use: Int64s, keys: Sequence[Key], seed: int) -> Draws:
        """Decide for each use.

        Args:
            key_of_use: index into `keys` of each use [N].
            keys: (locale, source) pairs of the catalog.
            seed: of the run.
        """
        seeds = keys_of(uses.rows, uses.passes, seed=seed_from(seed, "augment"))
        uniforms = first_uniforms(seeds)
        speeds = np.ones(len(uses))
        for index, key in enumerate(keys):
            if key in self.by_key and (own := key_of_use == index).any():
                speeds[own] = self.by_key[key].factors_for(uniforms[own])
        return Draws(seeds, speeds)

    def slowest(self, keys: Sequence[Key]) -> Floats:
        """Smallest factor that each of some keys can draw."""
        return np.array([self.by_key[key].slowest if key in self.by_key else 1.0 for key in keys])


def num_samples(durations_s: npt.ArrayLike) -> Int64s:
    """Samples of utterances as the catalog has them, exactly.

    A catalog keeps float32, whose rounding stays below half a sample up to 2**23 samples (8.7 minutes).
    """
    samples: Int64s = np.rint(np.asarray(durations_s, dtype=np.float64) * SAMPLE_RATE).astype(np.int64)
    return samples


def played_samples(samples: Int64s, speeds: Floats) -> Int64s:
    """Samples that are left of `samples` at some speed, at least one; arrays [N]."""
    played: Int64s = np.maximum(np.rint(samples / speeds), 1).astype(np.int64)
    return played


def played_s(recorded_s: npt.ArrayLike, speeds: Floats) -> Floats:
    """Seconds at some speeds; what is not changed keeps its number to the last bit."""
    recorded = np.asarray(recorded_s, dtype=np.float64)
    return np.where(speeds == 1, recorded, played_samples(num_samples(recorded), speeds) / SAMPLE_RATE)
