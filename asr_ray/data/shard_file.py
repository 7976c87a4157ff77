"""One shard: a Parquet file of utterances of one locale and source, in small row groups.

The audio stands inside, or, if it was prepared in place, where it stood before: then the row holds the
file, the bytes (or column and row of a Parquet file) and a CRC-32 instead. Everything else about a row,
its address included, is the same, so the catalog and all that plans and trains know no difference.

The footer says at which bytes of the file each audio stands (Parquet itself can only be read by row groups):
a reader takes the rows it wants and no others, wherever they are.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.errors import DataError
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

ABOUT = [name for name in SHARD_SCHEMA.names if name != "audio"]
"""The columns beside the audio."""

_RANGES = b"asr_ray.audio_ranges"
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
    ranges: list[tuple[int, int]] = []
    with (
        path.open("w+b", buffering=0) as file,
        pq.ParquetWriter(
            file,
            SHARD_SCHEMA,
            # Encoded audio does not compress, and its smallest and largest values say nothing.
            compression={name: "NONE" if name == "audio" else "ZSTD" for name in SHARD_SCHEMA.names},
            use_dictionary=_REPEATING,
            write_statistics=["id", "duration_s"],
        ) as writer,
    ):
        rows = map(_as_row, utterances)
        while group := list(islice(rows, utterances_per_row_group)):
            start = file.tell()
            writer.write_table(
                pa.Table.from_pylist(group, schema=SHARD_SCHEMA), row_group_size=utterances_per_row_group
            )
            written = os.pread(file.fileno(), file.tell() - start, start)
            ranges += _places([row.get("audio") for row in group], written=written, start=start)
        packed = base64.b64encode(np.array(ranges, dtype="<i8").tobytes())
        writer.add_key_value_metadata({_RANGES: packed})


def audio_ranges(footer: pq.FileMetaData, *, where: str) -> npt.NDArray[np.int64]:
    """Return the first byte of each row's audio in the file and the one behind its last; int64 [N, 2].

    Both are 0 for audio that was prepared in place.

    Raises:
        DataError: the footer does not say so; `where` names its file.
    """
    packed = (footer.metadata or {}).get(_RANGES, b"")
    ranges = np.frombuffer(base64.b64decode(packed), dtype="<i8").reshape(-1, 2)
    if len(ranges) != footer.num_rows:
        raise DataError(
            f"{where}: its footer does not say where the audio of {footer.num_rows} rows stands",
            fix="run jobs/prepare.py again: the shard was written by something else",
        )
    return ranges


def _places(audio: Iterable[object], *, written: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield where each value stands in what was written from byte `start` on."""
    behind = 0
    for value in audio:
        if not isinstance(value, bytes):
            yield 0, 0
            continue
        # Plain values follow their length, whole and in their order; page headers may stand between.
        value_start = written.index(len(value).to_bytes(4, "little") + value, behind) + 4
        behind = value_start + len(value)
        yield start + value_start, start + behind


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
