"""A manifest is read line by line: whatever one line holds, it costs that line only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.audio import decode_pcm16, encode_flac
from asr_ray.data.corpus import READERS, Row, nemo_manifest
from asr_ray.errors import DataError
from asr_ray.records import Reason, Rejected, Utterance
from asr_ray.settings import CorpusSettings
from asr_ray.testing.noise import noise, write_corpus, write_manifest


def corpus(path: Path, *, locale: str | None = None) -> CorpusSettings:
    return CorpusSettings(path=str(path), source="radio", locale=locale)


def read_all(path: Path, *, locale: str | None = None, rows_per_span: int = 3) -> list[Row]:
    spans = nemo_manifest.split(str(path), rows_per_span=rows_per_span)
    return [row for span in spans for row in nemo_manifest.read(span, corpus=corpus(path, locale=locale))]


def only(path: Path, *, locale: str | None = None) -> Utterance | Rejected:
    (row,) = read_all(path, locale=locale)
    return row.content


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, object]]:
    return write_corpus(tmp_path, locale="el-GR", count=5)


def test_the_registry_knows_the_format() -> None:
    assert READERS[corpus(Path("x")).format] is nemo_manifest


def test_an_utterance_holds_the_file_exactly_as_found(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl", rows)

    utterances = [row.content for row in read_all(manifest)]

    first = utterances[0]
    assert isinstance(first, Utterance)
    assert first.audio == (tmp_path / str(rows[0]["audio_filepath"])).read_bytes()
    assert (first.locale, first.source, first.speaker) == ("el-GR", "radio", "speaker-0")
    assert first.origin == f"{manifest}:1"
    assert len({utterance.id for utterance in utterances if isinstance(utterance, Utterance)}) == 5


def test_each_damaged_line_is_one_rejected_row_and_the_rest_is_read(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    latin = json.dumps(rows[0] | {"text": "déjà"}, ensure_ascii=False).encode("latin-1")
    damaged = {
        Reason.BAD_JSON: b'{"audio_filepath": "a.flac", "dura',
        Reason.BAD_ENCODING: latin,
        Reason.MISSING_AUDIO: json.dumps(rows[0] | {"audio_filepath": "absent.flac"}).encode(),
        Reason.MISSING_FIELD: json.dumps({"audio_filepath": "a.flac", "text": "x"}).encode(),
    }
    manifest = write_manifest(tmp_path / "m.jsonl", [*damaged.values(), b"", *rows])

    contents = [row.content for row in read_all(manifest)]

    rejected = [content for content in contents if isinstance(content, Rejected)]
    assert [row.reason for row in rejected] == [*damaged, Reason.BAD_JSON]
    assert [row.origin for row in rejected] == [f"{manifest}:{number}" for number in range(1, 6)]
    assert sum(isinstance(content, Utterance) for content in contents) == len(rows)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1, 2]", Reason.BAD_JSON),
        (b'{"n": ' + b"9" * 5000 + b"}", Reason.BAD_JSON),
        (b"[" * 100_000, Reason.BAD_JSON),
        (b'{"text": "\\ud800", "audio_filepath": "a"}', Reason.BAD_ENCODING),
        (b'{"audio_filepath": 7, "duration": 1, "text": "x"}', Reason.MISSING_FIELD),
        (b'{"audio_filepath": "a\\u0000b", "duration": 1, "text": "x"}', Reason.MISSING_AUDIO),
        (b'{"audio_filepath": ".", "duration": 1, "text": "x"}', Reason.MISSING_AUDIO),
        (b'{"audio_filepath": "a", "duration": true, "text": "x"}', Reason.MISSING_FIELD),
        (b'{"audio_filepath": "a", "duration": "1", "text": "x"}', Reason.MISSING_FIELD),
    ],
)
def test_odd_lines_have_a_reason(tmp_path: Path, line: bytes, reason: Reason) -> None:
    content = only(write_manifest(tmp_path / "m.jsonl", [line]), locale="el-GR")

    assert isinstance(content, Rejected)
    assert content.reason is reason


def test_a_byte_order_mark_is_no_fault(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    line = b"\xef\xbb\xbf" + json.dumps(rows[0]).encode()

    assert isinstance(only(write_manifest(tmp_path / "m.jsonl", [line])), Utterance)


def test_the_locale_comes_from_the_row_before_the_corpus(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    silent = {key: value for key, value in rows[0].items() if key != "target_lang"}

    def locale_of(row: dict[str, object], fallback: str | None) -> str:
        return only(write_manifest(tmp_path / "m.jsonl", [row]), locale=fallback).locale

    assert locale_of(rows[0], "bg-BG") == "el-GR"
    assert locale_of(silent | {"lang": "en-US"}, "bg-BG") == "en-US"
    assert locale_of(silent, "bg-BG") == "bg-BG"
    assert isinstance(only(write_manifest(tmp_path / "m.jsonl", [silent])), Rejected)


def test_a_derived_id_does_not_depend_on_where_the_corpus_stands(tmp_path: Path) -> None:
    def ids(folder: Path, *, absolute: bool) -> list[str]:
        rows = write_corpus(folder, locale="el-GR", count=3)
        if absolute:
            rows = [row | {"audio_filepath": str(folder / str(row["audio_filepath"]))} for row in rows]
        contents = [row.content for row in read_all(write_manifest(folder / "m.jsonl", rows))]
        return [content.id for content in contents if isinstance(content, Utterance)]

    assert ids(tmp_path / "a", absolute=False) == ids(tmp_path / "b", absolute=True)


def test_segments_of_one_recording_are_cut_out(tmp_path: Path) -> None:
    samples = noise(3.0)
    (tmp_path / "long.flac").write_bytes(encode_flac(samples))
    row = {"audio_filepath": "long.flac", "text": "x", "lang": "el-GR"}
    manifest = write_manifest(
        tmp_path / "m.jsonl",
        [
            row | {"offset": 0.5, "duration": 1.0},
            row | {"offset": 1.5, "duration": 1.0},
            row | {"offset": 0.0, "duration": 3.0},
            row | {"offset": -1.0, "duration": 1.0},
        ],
    )

    first, second, whole, outside = (row.content for row in read_all(manifest))

    assert isinstance(first, Utterance)
    assert isinstance(second, Utterance)
    assert isinstance(whole, Utterance)
    assert isinstance(outside, Rejected)
    assert (decode_pcm16(first.audio) == samples[8_000:24_000]).all()
    assert (decode_pcm16(second.audio) == samples[24_000:40_000]).all()
    assert whole.audio == (tmp_path / "long.flac").read_bytes()
    assert first.id != second.id


def test_an_empty_glob_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest matches .*nothing"):
        nemo_manifest.files(corpus(tmp_path / "nothing*.jsonl"))


def test_a_glob_gives_sorted_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        write_manifest(tmp_path / name, [b"{}"])

    found = nemo_manifest.files(corpus(tmp_path / "*.jsonl"))

    assert found == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]


@settings(max_examples=60)
@given(content=st.binary(max_size=400), rows_per_span=st.integers(1, 7))
def test_any_bytes_are_read_to_the_end(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, rows_per_span: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "m.jsonl"
    path.write_bytes(content)

    rows = read_all(path, rows_per_span=rows_per_span)

    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    assert b"".join(content[row.span.start : row.span.stop] for row in rows) == content


@settings(max_examples=30)
@given(rows_per_span=st.integers(1, 8))
def test_a_single_row_is_found_again_by_its_span(
    tmp_path_factory: pytest.TempPathFactory, rows_per_span: int
) -> None:
    folder = tmp_path_factory.mktemp("again")
    manifest = write_manifest(folder / "m.jsonl", write_corpus(folder, locale="el-GR", count=3))

    for row in read_all(manifest, rows_per_span=rows_per_span):
        (again,) = nemo_manifest.read(row.span, corpus=corpus(manifest))
        assert again == row
