"""Seeded order that stays the same on every machine and with every release of NumPy.

NumPy may change the streams of its generators between releases; a run that resumes after an
upgrade must still see the same plan. So orders come from SplitMix64 (Steele, Lea and Flood, 2014),
which is six lines of integer arithmetic.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seed_from(*parts: int | str) -> int:
    """A 64-bit seed that depends on every part and on their order: `seed_from(seed, "el-GR", 3)`."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def random_bits(size: int, *, seed: int) -> UInt64s:
    """The first `size` outputs of SplitMix64 started at `seed`; uint64 [size]."""
    # Sums and products of uint64 arrays wrap silently, which is the arithmetic wanted here.
    state = np.arange(1, size + 1, dtype=np.uint64) * _GOLDEN
    state += np.full(1, seed % 2**64, dtype=np.uint64)
    return _scrambled(state)


def keys_of(*columns: Int64s, seed: int) -> UInt64s:
    """One 64-bit seed for each row of some columns [N]: as `seed_from`, for millions at once; uint64 [N]."""
    keys = np.full(len(columns[0]), seed % 2**64, dtype=np.uint64)
    for column in columns:
        keys = _scrambled(keys ^ (column.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return keys


def first_uniforms(keys: UInt64s) -> npt.NDArray[np.float64]:
    """For each key the first number of `uniforms(n, seed=key)`; float64 [N] in [0, 1)."""
    return _unit(_scrambled(keys + _GOLDEN))


def uniforms(size: int, *, seed: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) from `random_bits`; float64 [size]."""
    return _unit(random_bits(size, seed=seed))


def _unit(bits: UInt64s) -> npt.NDArray[np.float64]:
    # 53 bits are what a float64 holds; more could round up to 1.
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _scrambled(state: UInt64s) -> UInt64s:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def permutation(size: int, *, seed: int) -> Int64s:
    """The numbers 0 to size - 1 in the order that `seed` gives; int64 [size]."""
    return np.argsort(random_bits(size, seed=seed), kind="stable").astype(np.int64)
