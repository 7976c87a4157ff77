"""Utterances come back in the order asked for, and of the audio nothing else is read."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.audio import encode_flac
from asr_ray.data.read import RowAddress, read_utterances
from asr_ray.data.shard_file import write_shard
from asr_ray.errors import DataError
from asr_ray.records import Utterance
from asr_ray.testing.noise import noise

SHARDS = ("a.parquet", "b.parquet")


def utterance(shard: str, number: int) -> Utterance:
    return Utterance(
        id=f"{shard}-{number}",
        audio=encode_flac(noise(0.1, seed=number)),
        duration_s=0.1,
        text="Ναι.",
        locale="el-GR",
        source="radio",
        origin="m.jsonl:1",
        prompt_mode="auto" if number % 2 else None,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of ten utterances in row groups of four."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in SHARDS:
        write_shard(folder / shard, (utterance(shard, n) for n in range(10)), utterances_per_row_group=4)
    return folder


@given(wanted=st.lists(st.tuples(st.sampled_from(SHARDS), st.integers(0, 9)), max_size=30))
def test_any_rows_in_any_order(root: Path, wanted: list[tuple[str, int]]) -> None:
    rows = [RowAddress(shard, number // 4, number % 4) for shard, number in wanted]

    found = read_utterances(root, rows)

    assert [each.id for each in found] == [f"{shard}-{number}" for shard, number in wanted]
    for each, (shard, number) in zip(found, wanted, strict=True):
        assert each.audio == utterance(shard, number).audio
        assert each.prompt_mode == utterance(shard, number).prompt_mode


def test_audio_that_is_not_asked_for_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes: list[int] = []
    pread = os.pread

    def count(descriptor: int, length: int, start: int) -> bytes:
        read_bytes.append(length)
        return pread(descriptor, length, start)

    monkeypatch.setattr(os, "pread", count)

    (found,) = read_utterances(root, [RowAddress("a.parquet", 1, 2)])

    assert read_bytes == [len(found.audio)]


def test_other_readers_of_parquet_find_the_same_audio(root: Path) -> None:
    audio = pq.read_table(root / "a.parquet").column("audio").to_pylist()

    assert audio == [utterance("a.parquet", n).audio for n in range(10)]


def test_a_shard_of_another_writer_is_refused(root: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(root / "a.parquet"), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=r"a\.parquet: its footer does not say"):
        read_utterances(tmp_path, [RowAddress("a.parquet", 0, 0)])


@pytest.mark.parametrize(("row_group", "row"), [(9, 0), (0, 4)])
def test_a_catalog_of_another_run_is_found_out(root: Path, row_group: int, row: int) -> None:
    with pytest.raises(DataError, match=r"a\.parquet: row group"):
        read_utterances(root, [RowAddress("a.parquet", row_group, row)])


def test_missing_and_damaged_shards_are_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "half.parquet").write_bytes((root / "a.parquet").read_bytes()[:2_000])

    for name in ("absent.parquet", "half.parquet"):
        with pytest.raises(DataError, match=name):
            read_utterances(tmp_path, [RowAddress(name, 0, 0)])
