"""A prepared folder without preparation: shards of noise and their catalog, written directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from asr_ray.data.audio import encode_flac
from asr_ray.data.catalog import SCHEMA, TOKENIZER_DIGEST, Catalog
from asr_ray.data.mix import Key
from asr_ray.data.shard_file import shard_path, write_shard
from asr_ray.records import SAMPLE_RATE, Tokenizer, Utterance
from asr_ray.testing.noise import noise

_WORDS = ("ένα", "два", "three", "cuatro", "pięć", "šest", "sieben")


def noise_utterances(
    key: Key, *, count: int, seconds: tuple[float, float] = (0.2, 0.6)
) -> Iterator[Utterance]:
    """Yield utterances of white noise with made-up words, the same ones each time.

    Args:
        key: locale and source of all of them.
        seconds: range of the durations, drawn uniformly.
    """
    locale, source = key
    rng = np.random.default_rng([*"/".join(key).encode()])
    for index in range(count):
        samples = noise(float(rng.uniform(*seconds)), seed=(index, *locale.encode()))
        yield Utterance(
            id=f"{locale}-{source}-{index:04d}",
            audio=encode_flac(samples),
            duration_s=len(samples) / SAMPLE_RATE,
            text=" ".join(rng.choice(_WORDS, size=rng.integers(1, 5))),
            locale=locale,
            source=source,
            origin=f"{source}.jsonl:{index + 1}",
        )


def write_prepared(
    root: Path, counts: Mapping[Key, int], *, tokenizer: Tokenizer, utterances_per_row_group: int = 4
) -> Catalog:
    """Write what `jobs/prepare.py` leaves of noise, one shard a key, without Ray and without checks.

    Args:
        root: folder to write into.
        counts: utterances of each (locale, source).
        tokenizer: counts the tokens and signs the catalog.
    """
    noise = {key: list(noise_utterances(key, count=count)) for key, count in counts.items()}
    return write_prepared_speech(
        root, noise, tokenizer=tokenizer, utterances_per_row_group=utterances_per_row_group
    )


def write_prepared_speech(
    root: Path,
    speech: Mapping[Key, Sequence[Utterance]],
    *,
    tokenizer: Tokenizer,
    utterances_per_row_group: int = 4,
) -> Catalog:
    """Write the same of utterances that are at hand, by (locale, source)."""
    rows: list[dict[str, object]] = []
    for key, utterances in speech.items():
        shard = shard_path(locale=key[0], source=key[1], part=0)
        write_shard(root / shard, utterances, utterances_per_row_group=utterances_per_row_group)
        for index, utterance in enumerate(utterances):
            row_group, row = divmod(index, utterances_per_row_group)
            rows.append(
                {
                    "id": utterance.id,
                    "locale": utterance.locale,
                    "source": utterance.source,
                    "duration_s": utterance.duration_s,
                    "num_tokens": len(tokenizer.encode(utterance.text)),
                    "shard": shard,
                    "row_group": row_group,
                    "row": row,
                    "speaker": 0,
                }
            )
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Catalog.write(table, root / "catalog.parquet", {TOKENIZER_DIGEST: tokenizer.digest})
