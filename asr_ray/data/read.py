"""Utterances back from shards: of the audio only what is asked for, of the rest whole row groups.

Audio that was prepared in place is fetched from where it stands, and must still be what was checked.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data.audio import decode_pcm16
from asr_ray.data.in_place import fetch
from asr_ray.data.shard_file import ABOUT, audio_ranges
from asr_ray.errors import DataError
from asr_ray.records import Utterance

_WAITS_S = (0.2, 1.0, 4.0)
"""Pauses before another attempt to open a shard."""

__all__ = ["RowAddress", "addresses", "decode_pcm16", "read_utterances"]


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
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, address in enumerate(rows):
        places[address.shard].append(place)
    found: dict[int, Utterance] = {}
    for shard, wanted in places.items():
        utterances = _read_shard(root / shard, [rows[place] for place in wanted])
        found |= zip(wanted, utterances, strict=True)
    return [found[place] for place in range(len(rows))]


def _read_shard(shard: Path, rows: Sequence[RowAddress]) -> Iterator[Utterance]:
    with _open(shard) as file:
        ranges = audio_ranges(file.metadata, where=str(shard))
        try:
            fields, places = _fields(file, rows=rows)
            inside = _inside(shard, ranges[places].tolist())
        except (OSError, IndexError, pa.ArrowException) as error:
            raise DataError(
                f"{shard}: row group {min(row.row_group for row in rows)} or a later one is not as the "
                f"catalog says: {error}",
                fix="run jobs/prepare.py again, the shards and the catalog are of different runs",
            ) from None
    elsewhere = fetch([each for each in fields if each["file"] is not None])
    for row, each, audio in zip(rows, fields, inside, strict=True):
        yield _utterance(
            each, audio=next(elsewhere) if audio is None else audio, origin=f"{row.shard}#{row.row_group}"
        )


def _fields(file: pq.ParquetFile, *, rows: Sequence[RowAddress]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return all but the audio of some rows, and their indices in the file.

    Raises:
        IndexError: there is no such row.
    """
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    if any(row.row >= sizes[row.row_group] for row in rows):
        raise IndexError("it has fewer rows")
    starts = [0, *itertools.accumulate(sizes)]
    groups = sorted({row.row_group for row in rows})
    read_before = dict(
        zip(groups, itertools.accumulate((sizes[group] for group in groups), initial=0), strict=False)
    )
    table = file.read_row_groups(groups, columns=ABOUT, use_threads=False)
    chosen = table.take(pa.array([read_before[row.row_group] + row.row for row in rows], pa.int64()))
    return chosen.to_pylist(), [starts[row.row_group] + row.row for row in rows]


def _inside(shard: Path, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
    """Return the bytes of each range of a file, None for an empty one."""
    found: list[bytes | None] = [None] * len(ranges)
    with shard.open("rb", buffering=0) as file:
        # From front to back, which is how storage reads ahead.
        for place in sorted(range(len(ranges)), key=lambda place: ranges[place][0]):
            start, stop = ranges[place]
            if stop:
                found[place] = os.pread(file.fileno(), stop - start, start)
    return found


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


def _utterance(fields: Mapping[str, Any], *, audio: bytes, origin: str) -> Utterance:
    return Utterance(
        id=fields["id"],
        audio=audio,
        duration_s=fields["duration_s"],
        text=fields["text"],
        locale=fields["locale"],
        source=fields["source"],
        origin=origin,
        speaker=fields["speaker"],
        prompt_mode=fields["prompt_mode"],
    )
