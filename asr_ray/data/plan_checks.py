"""What is refused before a plan begins."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from asr_ray.data.augment.speed import Speeds, played_s
from asr_ray.data.batch_cost import BatchBudget
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import Key
from asr_ray.errors import ConfigError, DataError

_ROWS_AT_ONCE = 2**20


def check_shares(shares: Mapping[Key, float], *, catalog: Catalog) -> None:
    """Raise ConfigError for shares that are none, or that no audio is for."""
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


def check_budget(catalog: Catalog, *, keys: set[Key], budget: BatchBudget, speeds: Speeds) -> None:
    """Raise DataError for an utterance that fits no batch at its slowest, before the run and not within."""
    in_use = np.array([key in keys for key in catalog.keys])
    slowest = speeds.slowest(catalog.keys)
    for start in range(0, len(catalog), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        used = in_use[catalog.key_of_row[part]] * budget.usage(
            utterances=np.ones(len(catalog.num_tokens[part]), dtype=np.int64),
            longest_s=played_s(catalog.durations_s[part], slowest[catalog.key_of_row[part]]),
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
