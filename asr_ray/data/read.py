"""Utterances back from shards: each row group that is needed is read once, none that is not.

Audio that was prepared in place is fetched from where it stands, and must still be what was checked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data.audio import decode_pcm16
from asr_ray.data.in_place import fetch
from asr_ray.errors import DataError
from asr_ray.records import Utterance

_WAITS_S = (0.2, 1.0, 4.0)
"""Pauses before another attempt to open a shard."""

__all__ = ["RowAddress", "addresses", "decode_pcm16", "read_rows", "read_utterances"]


class RowAddress(NamedTuple):
    """Where an utterance stands.

    Attributes:
        shard: file, relative to the folder of the catalog.
        row_group: index of the row group in the file.
        row: index of the row in the row group.
    """

    shard: str
    row_group: int
    row: int


def addresses(catalog: pa.Table) -> list[RowAddress]:
    """Return the addresses of catalog rows, in their order."""
    columns = (catalog.column(name).to_pylist() for name in RowAddress._fields)
    return [RowAddress(*values) for values in zip(*columns, strict=True)]


def read_rows(shard: Path, *, row_group: int, rows: Sequence[int]) -> pa.Table:
    """Return rows of one row group in the given order; columns as in `shard_file.SHARD_SCHEMA`.

    Raises:
        DataError: the file is missing, damaged or shorter than the catalog says.
    """
    with _open(shard) as file:
        return _take(file, shard=shard, row_group=row_group, rows=rows)


def read_utterances(root: Path, rows: Sequence[RowAddress]) -> list[Utterance]:
    """Return utterances in the order of `rows`.

    Their audio is mono at 16 kHz and `duration_s` is exactly its number of samples over 16,000.

    Args:
        root: folder of the catalog.
        rows: addresses, from a catalog by `addresses`.

    Raises:
        DataError: a shard is missing, damaged or shorter than the catalog says, or audio that was
            prepared in place is gone or changed.
    """
    places: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, address in enumerate(rows):
        places[address.shard][address.row_group].append(place)
    found: dict[int, Utterance] = {}
    for shard, groups in places.items():
        with _open(root / shard) as file:
            for row_group, wanted in groups.items():
                inside = [rows[place].row for place in wanted]
                table = _take(file, shard=root / shard, row_group=row_group, rows=inside)
                found |= zip(wanted, _utterances(table, origin=f"{shard}#{row_group}"), strict=True)
    return [found[place] for place in range(len(rows))]


def _open(shard: Path) -> pq.ParquetFile:
    """Open a shard, again after a while where storage does not answer (a file server that restarts)."""
    for wait_s in _WAITS_S:
        try:
            return pq.ParquetFile(shard)
        except pa.ArrowInvalid as error:
            raise _unreadable(shard, error) from None
        except OSError:
            time.sleep(wait_s)
    try:
        return pq.ParquetFile(shard)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(shard, error) from None


def _unreadable(shard: Path, error: Exception) -> DataError:
    return DataError(
        f"{shard}: cannot be read: {error}",
        fix="if it is there and whole, run the same command again; else run jobs/prepare.py again",
    )


def _take(file: pq.ParquetFile, *, shard: Path, row_group: int, rows: Sequence[int]) -> pa.Table:
    try:
        return file.read_row_group(row_group).take(pa.array(rows, pa.int64()))
    except (OSError, IndexError, pa.ArrowException) as error:
        raise DataError(
            f"{shard}: row group {row_group} is not as the catalog says: {error}",
            fix="run jobs/prepare.py again, the shards and the catalog are of different runs",
        ) from None


def _utterances(table: pa.Table, *, origin: str) -> list[Utterance]:
    rows = table.to_pylist()
    elsewhere = fetch([row for row in rows if row["audio"] is None])
    return [
        Utterance(
            id=row["id"],
            audio=next(elsewhere) if row["audio"] is None else row["audio"],
            duration_s=row["duration_s"],
            text=row["text"],
            locale=row["locale"],
            source=row["source"],
            origin=origin,
            speaker=row["speaker"],
            prompt_mode=row["prompt_mode"],
        )
        for row in rows
    ]
