"""Catalogs without audio, for everything that decides on metadata alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asr_ray.data.catalog import TOKENIZER_DIGEST, Catalog


def made_up_catalog(
    utterances: Mapping[tuple[str, str], int],
    *,
    row_group_size: int = 32,
    row_groups_per_shard: int = 8,
    longest_s: float = 20.0,
    seed: int = 0,
) -> Catalog:
    """A catalog of log-normal durations (median 6 s) and tokens that follow them.

    The tokens per second differ between locales (2 to 6) and, by a quarter, between utterances.

    Args:
        utterances: how many of each (locale, source).
        longest_s: durations are clipped to 1 s and this.
    """
    parts = [
        _part(
            key,
            count,
            tokens_per_s=2.0 + 4.0 * index / max(len(utterances) - 1, 1),
            row_group_size=row_group_size,
            row_groups_per_shard=row_groups_per_shard,
            longest_s=longest_s,
            random=np.random.default_rng([seed, index]),
        )
        for index, (key, count) in enumerate(utterances.items())
        if count
    ]
    return Catalog.of(pa.concat_tables(parts), metadata={TOKENIZER_DIGEST: "made up"}, root=Path())


def _part(
    key: tuple[str, str],
    count: int,
    *,
    tokens_per_s: float,
    row_group_size: int,
    row_groups_per_shard: int,
    longest_s: float,
    random: np.random.Generator,
) -> pa.Table:
    name = "-".join(key)
    durations_s = np.clip(np.exp(random.normal(np.log(6.0), 0.6, count)), 1.0, longest_s).astype(np.float32)
    num_tokens = np.maximum(np.round(tokens_per_s * durations_s * np.exp(random.normal(0, 0.25, count))), 1)
    group, row = np.divmod(np.arange(count), row_group_size)
    shard, row_group = np.divmod(group, row_groups_per_shard)
    return pa.table(
        {
            "id": [f"{name}-{index}" for index in range(count)],
            "locale": _repeated([key[0]], np.zeros(count)),
            "source": _repeated([key[1]], np.zeros(count)),
            "duration_s": durations_s,
            "num_tokens": num_tokens.astype(np.int32),
            "shard": _repeated(
                [f"shards/{name}-{index:05d}.parquet" for index in range(shard[-1] + 1)], shard
            ),
            "row_group": row_group.astype(np.int32),
            "row": row.astype(np.int32),
            "speaker": np.zeros(count, dtype=np.uint64),
        }
    )


def _repeated(names: Sequence[str], index: npt.NDArray[Any]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(index.astype(np.int32), pa.array(names))
