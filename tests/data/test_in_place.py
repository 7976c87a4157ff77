"""Audio left in place comes back as if it were in the shard, or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from asr_ray.data.audio import decode_pcm16, encode_flac
from asr_ray.data.catalog import Catalog
from asr_ray.data.corpus import READERS
from asr_ray.data.read import RowAddress, addresses, read_utterances
from asr_ray.data.shard_file import write_shard
from asr_ray.data.shards import prepare
from asr_ray.errors import DataError
from asr_ray.records import Stored, Utterance
from asr_ray.settings import CorpusSettings, PrepareSettings
from asr_ray.testing.corpora import WRITERS, clips, write_hf_parquet, write_nemo_tarred, write_tar
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise, write_corpus, write_manifest


def stored_utterances(corpus: CorpusSettings) -> list[Utterance]:
    reader = READERS[corpus.format]
    return [
        row.content
        for file in reader.files(corpus)
        for span in reader.split(file, rows_per_span=3)
        for row in reader.read(span, corpus=corpus)
        if isinstance(row.content, Utterance)
    ]


def read_back(folder: Path, utterances: list[Utterance]) -> list[Utterance]:
    write_shard(folder / "a.parquet", utterances, utterances_per_row_group=2)
    rows = [RowAddress("a.parquet", index // 2, index % 2) for index in range(len(utterances))]
    return read_utterances(folder, rows)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_format_says_where_its_audio_stands(name: str, tmp_path: Path) -> None:
    utterances = stored_utterances(WRITERS[name](tmp_path / "corpus", clips(5)))

    found = read_back(tmp_path, utterances)

    assert all(each.stored is not None for each in utterances)
    assert [each.audio for each in found] == [each.audio for each in utterances]
    assert [each.id for each in found] == [each.id for each in utterances]
    assert pq.read_table(tmp_path / "a.parquet")["audio"].null_count == 5


def test_rows_in_place_and_copied_stand_side_by_side(tmp_path: Path) -> None:
    first, second, third = stored_utterances(write_nemo_tarred(tmp_path, clips(3), num_shards=1))

    found = read_back(tmp_path, [first, replace(second, stored=None), third])

    assert [each.audio for each in found] == [first.audio, second.audio, third.audio]


def test_what_was_cut_or_converted_stands_nowhere(tmp_path: Path) -> None:
    (tmp_path / "long.flac").write_bytes(encode_flac(noise(3.0)))
    row = {"audio_filepath": "long.flac", "text": "x", "lang": "el-GR"}
    manifest = write_manifest(
        tmp_path / "m.jsonl",
        [row | {"offset": 0.5, "duration": 1.0}, row | {"offset": 0.0, "duration": 3.0}],
    )

    part, whole = stored_utterances(CorpusSettings(path=str(manifest), source="s"))

    assert part.stored is None
    assert whole.stored == Stored(file=str(tmp_path / "long.flac"), start=0, stop=len(whole.audio))


@pytest.mark.parametrize("fault", ["changed", "shorter", "gone"])
def test_a_tar_that_is_no_longer_the_same_is_named(tmp_path: Path, fault: str) -> None:
    utterances = stored_utterances(write_nemo_tarred(tmp_path, clips(2), num_shards=1))
    tar = tmp_path / "audio_0.tar"
    if fault == "changed":
        write_tar(tar, {each.name + ".flac": each.encoded() for each in clips(2, prefix="other")})
    elif fault == "shorter":
        os.truncate(tar, 1000)
    else:
        tar.unlink()

    with pytest.raises(DataError, match=r"audio_0\.tar: the audio at \d+ is not what was prepared"):
        read_back(tmp_path, utterances)


def test_a_parquet_file_that_is_no_longer_the_same_is_named(tmp_path: Path) -> None:
    utterances = stored_utterances(write_hf_parquet(tmp_path / "c", clips(3)))
    write_hf_parquet(tmp_path / "c", clips(2, prefix="other"))

    with pytest.raises(DataError, match=r"train-0\.parquet: the audio at \d+ is not what was prepared"):
        read_back(tmp_path, utterances)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_only_what_needs_conversion_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    rows = write_corpus(folder, locale="el-GR", count=3)
    (folder / "wide.flac").write_bytes(encode_flac(noise(3.0), sample_rate=44_100))
    rows.append({**rows[0], "audio_filepath": "wide.flac", "duration": 48_000 / 44_100, "id": "wide"})
    manifest = write_manifest(folder / "m.jsonl", rows)
    settings = PrepareSettings(
        corpora=[CorpusSettings(path=str(manifest), source="s")], out=tmp_path / "out", in_place=True
    )

    prepare(settings, tokenizer=FakeTokenizer())

    catalog = Catalog.read(tmp_path / "out" / "catalog.parquet")
    found = read_utterances(tmp_path / "out", addresses(catalog.table))
    (shard,) = (tmp_path / "out" / "shards").rglob("*.parquet")
    held = {row["id"]: row["audio"] is not None for row in pq.read_table(shard).to_pylist()}
    assert {name for name, is_held in held.items() if is_held} == {"wide"}
    for each in found:
        assert len(decode_pcm16(each.audio)) == round(each.duration_s * 16_000)
