"""One shard: a Parquet file of utterances of one locale and source, in small row groups.

The audio stands inside, or, if it was prepared in place, where it stood before: then the row holds the
file, the bytes (or column and row of a Parquet file) and a CRC-32 instead. Everything else about a row,
its address included, is the same, so the catalog and all that plans and trains know no difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.records import SAMPLE_RATE, Utterance

SHARD_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        # 32-bit offsets would end at 2 GiB of audio in one array.
        pa.field("audio", pa.large_binary()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("locale", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("num_samples", pa.int64(), nullable=False),
        pa.field("speaker", pa.string()),
        pa.field("prompt_mode", pa.string()),
        pa.field("file", pa.string()),
        pa.field("start", pa.int64()),
        pa.field("stop", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("checksum", pa.uint32()),
    ]
)
"""Columns of a shard; `audio` is an encoded file, mono, 16 kHz, of exactly `num_samples` samples. Where it is
null, `file`, `start`, `stop` and `column` are those of `records.Stored` and `checksum` is its CRC-32."""

_REPEATING = ["locale", "source", "speaker", "prompt_mode", "file", "column"]


def shard_path(*, locale: str, source: str, part: int) -> str:
    """Return the path of a shard relative to the folder of the catalog."""
    # Sources come from manifests: no separator or `..` of theirs may leave the folder.
    folder = quote(source, safe=" ").replace(".", "%2E") if set(source) <= {"."} else quote(source, safe=" ")
    return f"shards/{locale}/{folder}/part-{part:05d}.parquet"


def write_shard(path: Path, utterances: Iterable[Utterance], *, utterances_per_row_group: int) -> None:
    """Write utterances in the given order; no more than one row group of audio is held at a time.

    Args:
        path: file to write; its folder is made.
        utterances: mono, 16 kHz, `duration_s` as measured; audio with `stored` is left where it stands.
        utterances_per_row_group: the unit in which it will be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(
        path,
        SHARD_SCHEMA,
        # Encoded audio does not compress, and its smallest and largest values say nothing.
        compression={name: "NONE" if name == "audio" else "ZSTD" for name in SHARD_SCHEMA.names},
        use_dictionary=_REPEATING,
        write_statistics=["id", "duration_s"],
    ) as writer:
        rows = map(_as_row, utterances)
        while group := list(islice(rows, utterances_per_row_group)):
            writer.write_table(
                pa.Table.from_pylist(group, schema=SHARD_SCHEMA), row_group_size=utterances_per_row_group
            )


def _as_row(utterance: Utterance) -> dict[str, object]:
    stored = utterance.stored
    place = {"audio": utterance.audio} if stored is None else asdict(stored)
    return place | {
        "id": utterance.id,
        "checksum": None if stored is None else zlib.crc32(utterance.audio),
        "text": utterance.text,
        "locale": utterance.locale,
        "source": utterance.source,
        "duration_s": utterance.duration_s,
        "num_samples": round(utterance.duration_s * SAMPLE_RATE),
        "speaker": utterance.speaker,
        "prompt_mode": utterance.prompt_mode,
    }
