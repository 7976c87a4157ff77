"""Fingerprints come back row by row, and only beside the catalog that they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from asr_ray.data.checks.fingerprints import (
    FINGERPRINTS,
    SCHEMA,
    digest_of_held_out,
    read_fingerprints,
    read_held_out,
    write_fingerprints,
)
from asr_ray.errors import DataError

HIGHEST = 2**64 - 1


def prints(*audio: int) -> pa.Table:
    columns = [audio, [value // 2 for value in audio], [5] * len(audio)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def write(folder: Path, *audio: int, digest: str = "d") -> Path:
    folder.mkdir(exist_ok=True)
    write_fingerprints(folder, prints(*audio), catalog_digest=digest)
    return folder


def test_rows_come_back_in_order_and_in_full_width(tmp_path: Path) -> None:
    write(tmp_path, HIGHEST, 0, 7)

    table = read_fingerprints(tmp_path, catalog_digest="d")

    assert table.equals(prints(HIGHEST, 0, 7))


def test_those_of_another_catalog_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 1)

    with pytest.raises(DataError, match="different preparations"):
        read_fingerprints(tmp_path, catalog_digest="other")


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_held_out([tmp_path])
    with pytest.raises(DataError, match="cannot be read"):
        digest_of_held_out([tmp_path])


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FINGERPRINTS).write_bytes(b"no parquet")

    with pytest.raises(DataError, match="cannot be read"):
        read_fingerprints(tmp_path)


def test_held_out_speech_of_several_folders_is_one_set(tmp_path: Path) -> None:
    folders = [write(tmp_path / "a", HIGHEST, 4, 4), write(tmp_path / "b", 4, 2)]

    held_out = read_held_out(folders)

    assert held_out.audio.tolist() == [2, 4, HIGHEST]
    assert held_out.audio.dtype == held_out.text.dtype == np.uint64
    assert held_out.text.tolist() == [1, 2, HIGHEST // 2]


def test_without_folders_nothing_is_held_out() -> None:
    held_out = read_held_out([])

    assert (len(held_out.audio), len(held_out.text), held_out.audio.dtype) == (0, 0, np.uint64)


def test_other_speech_has_another_digest(tmp_path: Path) -> None:
    (first,) = digest_of_held_out([write(tmp_path, 1)])
    (same,) = digest_of_held_out([write(tmp_path, 1)])
    (other,) = digest_of_held_out([write(tmp_path, 2)])

    assert first == same != other


def test_ten_million_rows_stay_small(tmp_path: Path) -> None:
    rows = 200_000
    rng = np.random.default_rng(0)
    hashes = [pa.array(rng.integers(0, HIGHEST, rows, dtype=np.uint64, endpoint=True)) for _ in range(2)]
    characters = pa.array(rng.integers(20, 200, rows), pa.int32())
    write_fingerprints(
        tmp_path, pa.Table.from_arrays([*hashes, characters], schema=SCHEMA), catalog_digest="d"
    )

    assert (tmp_path / FINGERPRINTS).stat().st_size / rows < 18
