"""Audio that was prepared in place: read from the corpus itself, and checked against what was prepared."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data import storage
from asr_ray.errors import DataError

_AGAIN = "put the file back, or run jobs/prepare.py again (without in_place to keep a copy of the audio)"


def fetch(rows: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield the audio of shard rows that hold its place, in their order.

    Row groups of Parquet files are read once for all the rows in them.

    Args:
        rows: of a shard, with `file`, `start`, `stop`, `column` and `checksum`.

    Raises:
        DataError: a file is gone, cannot be reached or holds something else than was prepared.
    """
    in_tables = _from_parquet([row for row in rows if row["column"] is not None])
    for row in rows:
        file, start = row["file"], row["start"]
        try:
            audio = in_tables[file, start] if row["column"] else _bytes_of(row)
        except (KeyError, OSError) as error:
            raise _changed(file, start, str(getattr(error, "strerror", None) or "shorter")) from None
        if zlib.crc32(audio) != row["checksum"]:
            raise _changed(file, start, "other bytes")
        yield audio


def _bytes_of(row: Mapping[str, Any]) -> bytes:
    return storage.read_range(row["file"], start=row["start"], stop=row["stop"])


def _from_parquet(rows: Sequence[Mapping[str, Any]]) -> Mapping[tuple[str, int], bytes]:
    wanted: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for row in rows:
        wanted[row["file"], row["column"]].add(row["start"])
    found: dict[tuple[str, int], bytes] = {}
    for (file, column), indices in wanted.items():
        try:
            with storage.open_file(file) as handle, pq.ParquetFile(handle) as parquet:
                for index, value in _values(parquet, column=column, indices=indices):
                    found[file, index] = value
        except (pa.ArrowException, OSError) as error:
            raise _changed(file, min(indices), str(error)) from None
    return found


def _values(parquet: pq.ParquetFile, *, column: str, indices: set[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the encoded audio of some rows with their index in the file."""
    start = 0
    for group in range(parquet.num_row_groups):
        stop = start + parquet.metadata.row_group(group).num_rows
        if inside := [index for index in indices if start <= index < stop]:
            cells = parquet.read_row_group(group, columns=[column])[column]
            for index in inside:
                value = cells[index - start].as_py()
                content = value.get("bytes") if isinstance(value, dict) else value
                yield index, content if isinstance(content, bytes) else b""
        start = stop


def _changed(file: str, start: int, found: str) -> DataError:
    return DataError(f"{file}: the audio at {start} is not what was prepared in place: {found}", fix=_AGAIN)
