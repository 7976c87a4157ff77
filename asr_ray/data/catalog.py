"""The catalog: one row per prepared utterance, everything that planning needs and no audio.

It is written once by preparation, next to the shards, and read by everything that decides about
data. Ten million utterances take under 0.5 GB: columns stay Arrow and NumPy, no row becomes a Python
object, and ids and speakers (which only reports need) stay on disk unless asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data.mix import Key
from asr_ray.data.shuffle import Int64s
from asr_ray.errors import DataError

_NAMES = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("locale", _NAMES, nullable=False),
        pa.field("source", _NAMES, nullable=False),
        pa.field("duration_s", pa.float32(), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("shard", _NAMES, nullable=False),
        pa.field("row_group", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("speaker", pa.uint64(), nullable=False),
    ]
)
"""Columns of a catalog. `shard` is a path relative to the catalog's folder, `row` counts inside the
row group, `speaker` is a hash or 0 when unknown."""

TOKENIZER_DIGEST = "tokenizer_digest"
"""Metadata key: sha256 of the tokenizer that counted `num_tokens`."""

_DIGEST = "asr_ray.digest"

_WHO = ("id", "speaker")
"""Columns that no decision needs and that stay on disk unless asked for."""


@dataclass(frozen=True, slots=True)
class RowGroups:
    """The units that are read from shards, in the order of key, shard and position.

    Attributes:
        key: index into `Catalog.keys` of each row group [G].
        starts: row group g holds `rows[starts[g]:starts[g + 1]]` [G + 1].
        rows: catalog row indices [N].
    """

    key: Int64s
    starts: Int64s
    rows: Int64s

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class Catalog:
    """Prepared utterances as columns.

    Attributes:
        table: rows of `SCHEMA`, each column one chunk; without id and speaker unless asked for.
        metadata: what preparation noted, `TOKENIZER_DIGEST` among it.
        digest: sha256 over content and tokenizer digest; a plan is valid for one digest.
        root: folder that `shard` paths are relative to.
    """

    table: pa.Table
    metadata: Mapping[str, str]
    digest: str
    root: Path

    @classmethod
    def read(cls, path: str | Path, *, ids: bool = False) -> Catalog:
        """Read a catalog file.

        Args:
            path: `catalog.parquet` as preparation wrote it.
            ids: load id and speaker of the utterances too (some 35 bytes each).

        Raises:
            DataError: no such file, not a catalog, or no row in it.
        """
        path = Path(path)
        columns = [name for name in SCHEMA.names if ids or name not in _WHO]
        try:
            with pq.ParquetFile(path) as file:
                metadata = _metadata(file.schema_arrow)
                if _DIGEST not in metadata or not set(columns) <= set(file.schema_arrow.names):
                    raise DataError(f"{path} is not a catalog of this library", fix=_AGAIN)
                # One column after the other: reading needs little more than what it returns.
                parts = [_one_chunk(file.read(columns=[name])) for name in columns]
        except FileNotFoundError as error:
            raise DataError(f"there is no catalog {path}", fix="run jobs/prepare.py first") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} cannot be read as a catalog: {error}", fix=_AGAIN) from error
        pa.default_memory_pool().release_unused()
        schema = pa.schema([SCHEMA.field(name) for name in columns])
        table = pa.Table.from_arrays([part.column(0) for part in parts], schema=schema)
        if not table.num_rows:
            raise DataError(
                f"{path} holds no utterance", fix="see quarantine.parquet beside it for the reasons"
            )
        return cls(table, metadata, metadata.pop(_DIGEST), path.parent)

    @classmethod
    def of(cls, table: pa.Table, *, metadata: Mapping[str, str], root: Path) -> Catalog:
        """A catalog of the rows of `table` (columns of `SCHEMA`), in any order.

        Raises:
            DataError: columns missing or null, no row, a duration that is not above 0, a negative
                count, or a row group that mixes locales or sources.
        """
        if missing := [name for name in SCHEMA.names if name not in table.column_names]:
            raise DataError(f"a catalog needs the columns {', '.join(missing)}", fix="use catalog.SCHEMA")
        try:
            table = _one_chunk(table.select(SCHEMA.names))
        except (pa.ArrowInvalid, ValueError) as error:
            raise DataError(f"the rows do not suit a catalog: {error}", fix="use catalog.SCHEMA") from error
        _check_columns(table)
        catalog = cls(table, dict(metadata), _digest(table, metadata), root)
        len(catalog.row_groups)  # raises when one mixes keys
        return catalog

    @classmethod
    def write(cls, table: pa.Table, path: str | Path, metadata: Mapping[str, str]) -> Catalog:
        """Write `table` as a catalog file, see `of`, and return it.

        Args:
            path: file to write; its folder is the root of the shard paths.
            metadata: `TOKENIZER_DIGEST` and whatever else shall be remembered.
        """
        path = Path(path)
        catalog = cls.of(table, metadata=metadata, root=path.parent)
        stored = catalog.table.replace_schema_metadata({**metadata, _DIGEST: catalog.digest})
        pq.write_table(stored, path, compression="zstd", use_dictionary=["locale", "source", "shard"])
        return catalog

    def filter(
        self, *, locales: Collection[str] | None = None, max_duration_s: float | None = None
    ) -> Catalog:
        """The rows of some locales, or of utterances up to a length; row indices are counted anew.

        Raises:
            DataError: a locale that the catalog does not hold, or no row left.
        """
        if unknown := sorted(set(locales or ()) - {locale for locale, _ in self.keys}):
            present = ", ".join(sorted({locale for locale, _ in self.keys}))
            raise DataError(
                f"no utterance of {', '.join(unknown)} is prepared (there is: {present})",
                fix="prepare a corpus of that locale or take it out of the configuration",
            )
        keep = np.ones(len(self), dtype=np.bool_)
        if locales is not None:
            keep &= np.array([locale in set(locales) for locale, _ in self.keys])[self.key_of_row]
        if max_duration_s is not None:
            keep &= self.durations_s <= max_duration_s
        if not keep.any():
            raise DataError(
                f"no utterance is left of {len(self)}", fix="loosen the limits on locales and duration"
            )
        # Names the choice, not the result, so that nothing has to be hashed again.
        choice = f"{self.digest} locales={sorted(locales) if locales is not None else None} {max_duration_s}"
        digest = hashlib.sha256(choice.encode()).hexdigest()
        return Catalog(_one_chunk(self.table.filter(pa.array(keep))), self.metadata, digest, self.root)

    def __getstate__(self) -> dict[str, object]:
        # Views of the columns would be pickled as copies.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def durations_s(self) -> npt.NDArray[np.float32]:
        """Seconds of each utterance, float32 [N]."""
        return self._numbers("duration_s")

    @cached_property
    def num_tokens(self) -> npt.NDArray[np.int32]:
        """Tokens of each transcript, int32 [N]."""
        return self._numbers("num_tokens")

    @cached_property
    def row_group(self) -> npt.NDArray[np.int32]:
        """Row group inside the shard, int32 [N]."""
        return self._numbers("row_group")

    @cached_property
    def row(self) -> npt.NDArray[np.int32]:
        """Row inside the row group, int32 [N]."""
        return self._numbers("row")

    @cached_property
    def shard(self) -> npt.NDArray[np.int32]:
        """Index into `shards` of each utterance, int32 [N]."""
        return self._codes("shard")

    @cached_property
    def shards(self) -> tuple[str, ...]:
        """Paths of the shards, relative to `root`."""
        return self._names("shard")

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The (locale, source) pairs that have utterances, sorted."""
        return self._keyed[0]

    @property
    def key_of_row(self) -> npt.NDArray[np.int16]:
        """Index into `keys` of each utterance, int16 [N]."""
        return self._keyed[1]

    @cached_property
    def seconds_by_key(self) -> dict[Key, float]:
        """Seconds of audio of each (locale, source)."""
        seconds = np.bincount(self.key_of_row, weights=self.durations_s, minlength=len(self.keys))
        return dict(zip(self.keys, seconds.tolist(), strict=True))

    @property
    def hours_by_key(self) -> dict[Key, float]:
        """Hours of audio of each (locale, source)."""
        return {key: seconds / 3600 for key, seconds in self.seconds_by_key.items()}

    def ids(self, rows: Int64s) -> list[str]:
        """Ids of some utterances; the catalog must have been read with `ids=True`."""
        if "id" not in self.table.column_names:
            raise DataError(
                "this catalog was read without ids", fix="read it with Catalog.read(path, ids=True)"
            )
        names: list[str] = self.table.column("id").take(pa.array(rows)).to_pylist()
        return names

    @cached_property
    def row_groups(self) -> RowGroups:
        """The row groups of the shards, see `RowGroups`.

        Raises:
            DataError: a row group mixes locales or sources, so it cannot be read for one of them alone.
        """
        order, place, starts = self._rows_by_row_group()
        _, first_of_place = np.unique(place[starts[:-1]], return_index=True)
        if len(first_of_place) < len(starts) - 1:
            second = int(np.setdiff1d(np.arange(len(starts) - 1), first_of_place)[0])
            row = order[starts[second]]
            raise DataError(
                f"row group {self.row_group[row]} of {self.shards[self.shard[row]]} mixes locales or sources",
                fix=_AGAIN,
            )
        key = self.key_of_row[order[starts[:-1]]].astype(np.int64)
        return RowGroups(key, starts, order)

    def _rows_by_row_group(self) -> tuple[Int64s, Int64s, Int64s]:
        """Rows in the order of key, shard path, row group and row; the place of each; starts of the groups.

        A place numbers the row groups of all shards; a group ends where key or place changes.
        """
        rank_of_shard = np.argsort(np.argsort(np.array(self.shards))).astype(np.int64)
        place = rank_of_shard[self.shard] << 32 | self.row_group
        key = self.key_of_row
        # Preparation writes rows in this order; then nothing needs sorting.
        if np.all(_increasing(key, place, self.row)):
            order = np.arange(len(self))
        else:
            order = np.lexsort((self.row, place, key))
            place, key = place[order], key[order]
        changes = np.flatnonzero((place[1:] != place[:-1]) | (key[1:] != key[:-1])) + 1
        return order, place, np.concatenate([[0], changes, [len(self)]])

    def _numbers(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = self.table.column(name).chunk(0).to_numpy()
        return array

    def _codes(self, name: str) -> npt.NDArray[np.int32]:
        codes: npt.NDArray[np.int32] = self.table.column(name).chunk(0).indices.to_numpy()
        return codes

    def _names(self, name: str) -> tuple[str, ...]:
        return tuple(self.table.column(name).chunk(0).dictionary.to_pylist())

    @cached_property
    def _keyed(self) -> tuple[tuple[Key, ...], npt.NDArray[np.int16]]:
        locales, sources = self._names("locale"), self._names("source")
        pair = self._codes("locale") * np.int32(len(sources)) + self._codes("source")
        used = np.flatnonzero(np.bincount(pair))
        keys = [(locales[code // len(sources)], sources[code % len(sources)]) for code in used.tolist()]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        index_of_pair = np.zeros(len(locales) * len(sources), dtype=np.int16)
        index_of_pair[used[order]] = np.arange(len(keys), dtype=np.int16)
        return tuple(keys[i] for i in order), index_of_pair[pair]


_AGAIN = "prepare the corpus again with jobs/prepare.py"


def _metadata(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): text.decode() for key, text in (schema.metadata or {}).items()}


def _one_chunk(table: pa.Table) -> pa.Table:
    """Cast to the schema, one chunk per column and one dictionary per column, for NumPy views."""
    fields = [SCHEMA.field(name) for name in table.column_names]
    return table.unify_dictionaries().cast(pa.schema(fields)).combine_chunks()


def _increasing(*columns: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Whether each row is at least its predecessor in lexicographic order; [N - 1]."""
    verdict = np.ones(max(len(columns[0]) - 1, 0), dtype=np.bool_)
    for column in reversed(columns):
        verdict = (column[1:] > column[:-1]) | ((column[1:] == column[:-1]) & verdict)
    return verdict


def _check_columns(table: pa.Table) -> None:
    if not table.num_rows:
        raise DataError("a catalog without utterances is of no use", fix="see the quarantine for the reasons")
    if nulls := [name for name in table.column_names if table.column(name).null_count]:
        raise DataError(f"null values in {', '.join(nulls)}", fix="put such rows into the quarantine")
    durations_s = table.column("duration_s").chunk(0).to_numpy()
    if not bool(np.all((durations_s > 0) & np.isfinite(durations_s))):
        raise DataError(
            "every duration_s must be above 0 and finite", fix="put such rows into the quarantine"
        )
    for name in ("num_tokens", "row_group", "row"):
        if table.column(name).chunk(0).to_numpy().min() < 0:
            raise DataError(f"{name} cannot be negative", fix=_AGAIN)


def _digest(table: pa.Table, metadata: Mapping[str, str]) -> str:
    """sha256 over every column and the tokenizer digest; equal content gives equal digests."""
    total = hashlib.sha256(metadata.get(TOKENIZER_DIGEST, "").encode())
    for name in SCHEMA.names:
        total.update(f"{name}:{table.num_rows}:{_column_digest(table.column(name).chunk(0))}\n".encode())
    return total.hexdigest()


def _column_digest(column: pa.Array) -> str:
    if pa.types.is_dictionary(column.type):
        # Order and surplus of a dictionary are accidents of writing, so codes are renumbered by name.
        codes, names = column.indices.to_numpy(), column.dictionary.to_pylist()
        used = sorted(np.flatnonzero(np.bincount(codes)).tolist(), key=names.__getitem__)
        new_code = np.zeros(len(names), dtype=np.int32)
        new_code[used] = np.arange(len(used))
        hashed = hashlib.sha256("\x1f".join(names[code] for code in used).encode())
        hashed.update(new_code[codes].data)
    elif pa.types.is_string(column.type):
        # The bytes of all strings end to end; a slice shares its buffer with what it was cut from.
        ends = np.frombuffer(column.buffers()[1], dtype=np.int32)[
            column.offset : column.offset + len(column) + 1
        ]
        hashed = hashlib.sha256(np.diff(ends).data)
        hashed.update(memoryview(column.buffers()[2] or b"")[ends[0] : ends[-1]])
    else:
        hashed = hashlib.sha256(np.ascontiguousarray(column.to_numpy()).data)
    return hashed.hexdigest()
