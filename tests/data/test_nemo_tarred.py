"""Rows of NeMo's tarred data sets find their audio by number of the shard and name of the member."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from asr_ray.data.audio import decode_pcm16, encode_flac
from asr_ray.data.corpus import nemo_tarred, tar_index
from asr_ray.errors import DataError
from asr_ray.records import Reason, Rejected, Utterance
from asr_ray.settings import CorpusSettings
from asr_ray.testing.corpora import clips, tarred_row, write_nemo_tarred, write_tar
from asr_ray.testing.noise import noise


def read_all(corpus: CorpusSettings) -> list[Utterance | Rejected]:
    return [
        row.content
        for file in nemo_tarred.files(corpus)
        for span in nemo_tarred.split(file, rows_per_span=2)
        for row in nemo_tarred.read(span, corpus=corpus)
    ]


def write(folder: Path, rows: list[dict[str, object]], members: dict[str, bytes]) -> CorpusSettings:
    write_tar(folder / "audio_0.tar", members)
    (folder / "tarred_audio_manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CorpusSettings(
        path=str(folder / "tarred_audio_manifest.json"),
        tars=str(folder / "audio_*.tar"),
        source="s",
        format="nemo_tarred",
    )


def reasons(contents: list[Utterance | Rejected]) -> list[Reason | None]:
    return [each.reason if isinstance(each, Rejected) else None for each in contents]


def test_one_manifest_for_all_tars_names_the_shard_in_each_row(tmp_path: Path) -> None:
    spoken = clips(6)
    corpus = write_nemo_tarred(tmp_path, spoken, num_shards=3)
    lines = [(tmp_path / f"manifest_{shard}.json").read_text() for shard in range(3)]
    (tmp_path / "all.json").write_text("".join(lines))

    contents = read_all(corpus.model_copy(update={"path": str(tmp_path / "all.json")}))

    assert reasons(contents) == [None] * 6
    assert [each.text for each in contents if isinstance(each, Utterance)] == [
        clip.text for shard in range(3) for clip in spoken[shard::3]
    ]


def test_segments_share_a_member(tmp_path: Path) -> None:
    samples = noise(3.0)
    row = {"text": "Ναι.", "target_lang": "el-GR", "shard_id": 0, "duration": 1.0}
    corpus = write(
        tmp_path,
        [
            row | {"audio_filepath": "long.flac", "offset": 0.5},
            row | {"audio_filepath": "long-sub1.flac", "offset": 1.5},
            row | {"audio_filepath": "own-sub1.flac"},
        ],
        {"long.flac": encode_flac(samples), "own-sub1.flac": encode_flac(noise(1.0, seed=5))},
    )

    first, second, own = read_all(corpus)

    assert isinstance(first, Utterance)
    assert isinstance(second, Utterance)
    assert isinstance(own, Utterance)
    assert np.array_equal(decode_pcm16(first.audio), samples[8_000:24_000])
    assert np.array_equal(decode_pcm16(second.audio), samples[24_000:40_000])
    assert np.array_equal(decode_pcm16(own.audio), noise(1.0, seed=5))
    assert len({first.id, second.id, own.id}) == 3


def test_bad_rows_are_rejected_one_by_one_and_marked_ones_left_out(tmp_path: Path) -> None:
    (clip,) = clips(1)
    good = tarred_row(clip, shard=0)
    corpus = write(
        tmp_path,
        [
            good,
            good | {"audio_filepath": "absent.flac"},
            good | {"shard_id": 9},
            {key: value for key, value in good.items() if key != "text"},
            good | {"_skipme": True},
            {key: value for key, value in good.items() if key != "duration"},
        ],
        {"clip0.flac": clip.encoded()},
    )

    assert reasons(read_all(corpus)) == [
        None,
        Reason.MISSING_AUDIO,
        Reason.MISSING_AUDIO,
        Reason.MISSING_FIELD,
        Reason.MISSING_FIELD,
    ]


def test_a_tar_that_was_cut_short_costs_its_last_rows(tmp_path: Path) -> None:
    spoken = clips(4)
    corpus = write_nemo_tarred(tmp_path, spoken, num_shards=1)
    tar = tmp_path / "audio_0.tar"
    last = tar_index.index(str(tar))["clip3.flac"]
    tar.write_bytes(tar.read_bytes()[: last.start + 1000])

    found = reasons(read_all(corpus))

    assert found[:3] == [None] * 3
    assert found[3] in {Reason.TRUNCATED, Reason.MISSING_AUDIO}


def test_a_compressed_tar_is_an_error_that_names_it(tmp_path: Path) -> None:
    import gzip

    corpus = write_nemo_tarred(tmp_path, clips(1), num_shards=1)
    tar = tmp_path / "audio_0.tar"
    tar.write_bytes(gzip.compress(tar.read_bytes()))

    with pytest.raises(DataError, match=r"audio_0\.tar: cannot be read as a tar"):
        read_all(corpus)


def test_every_file_of_a_numbered_pattern_must_be_there(tmp_path: Path) -> None:
    corpus = write_nemo_tarred(tmp_path, clips(4), num_shards=2)
    (tmp_path / "manifest_1.json").unlink()

    with pytest.raises(DataError, match="1 files of the 2"):
        nemo_tarred.files(corpus)


def test_a_tar_is_walked_again_once_it_changed(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"x": b"one"})
    assert tar_index.read_member(str(tmp_path / "a.tar"), "x")[0] == b"one"

    write_tar(tmp_path / "a.tar", {"w": b"longer", "x": b"two"})

    assert tar_index.read_member(str(tmp_path / "a.tar"), "x")[0] == b"two"
