"""Parquet of Hugging Face, Common Voice and FLEURS lists: columns found, bad rows rejected one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asr_ray.data.corpus import READERS, Row
from asr_ray.errors import DataError
from asr_ray.records import Reason, Rejected, Utterance
from asr_ray.settings import ColumnSettings, CorpusSettings
from asr_ray.testing.corpora import clips, write_common_voice, write_fleurs, write_hf_parquet


def read_all(corpus: CorpusSettings) -> list[Row]:
    reader = READERS[corpus.format]
    return [
        row
        for file in reader.files(corpus)
        for span in reader.split(file, rows_per_span=2)
        for row in reader.read(span, corpus=corpus)
    ]


def reasons(corpus: CorpusSettings) -> list[Reason | None]:
    contents = [row.content for row in read_all(corpus)]
    return [each.reason if isinstance(each, Rejected) else None for each in contents]


def parquet(folder: Path, table: pa.Table, **settings: Any) -> CorpusSettings:
    pq.write_table(table, folder / "x.parquet", row_group_size=2)
    return CorpusSettings(path=str(folder / "x.parquet"), source="s", format="hf_parquet", **settings)


def table(*, text: str = "text", **columns: list[Any]) -> pa.Table:
    spoken = clips(3)
    audio = [{"bytes": clip.encoded(), "path": f"{clip.name}.flac"} for clip in spoken]
    return pa.table({"audio": audio, text: [clip.text for clip in spoken], **columns})


def test_row_groups_are_the_spans(tmp_path: Path) -> None:
    corpus = write_hf_parquet(tmp_path, clips(5), rows_per_group=2)
    (file,) = READERS["hf_parquet"].files(corpus)

    spans = list(READERS["hf_parquet"].split(file, rows_per_span=1))

    assert [(span.start, span.stop, span.first_row) for span in spans] == [(0, 2, 1), (2, 4, 3), (4, 5, 5)]
    assert all(span.is_block for span in spans)


def test_bad_parquet_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    good = {"bytes": clips(1)[0].encoded(), "path": "a.flac"}
    rows = [
        {"audio": good, "text": "Ναι.", "lang": "el-GR"},
        {"audio": None, "text": "Ναι.", "lang": "el-GR"},
        {"audio": {"bytes": None, "path": "absent.flac"}, "text": "Ναι.", "lang": "el-GR"},
        {"audio": good, "text": None, "lang": "el-GR"},
        {"audio": good, "text": "Ναι.", "lang": None},
    ]

    assert reasons(parquet(tmp_path, pa.Table.from_pylist(rows))) == [
        None,
        Reason.MISSING_AUDIO,
        Reason.MISSING_AUDIO,
        Reason.MISSING_FIELD,
        Reason.MISSING_FIELD,
    ]


def test_a_text_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"ok", b"\xff\xfe", b"ok"], pa.binary()).view(pa.string())
    audio = [{"bytes": clip.encoded(), "path": None} for clip in clips(3)]
    corpus = parquet(tmp_path, pa.table({"audio": audio, "text": texts}), locale="el-GR")

    assert reasons(corpus) == [None, Reason.BAD_ENCODING, None]


def test_columns_can_be_named_and_switched_off(tmp_path: Path) -> None:
    columns = table(text="utterance", language=["Greek"] * 3, key=["a", "b", "c"], duration=[9.0] * 3)
    named = ColumnSettings(text="utterance", locale="", id="key", duration="")

    contents = [row.content for row in read_all(parquet(tmp_path, columns, locale="el-GR", columns=named))]

    assert [(each.id, each.locale) for each in contents if isinstance(each, Utterance)] == [
        ("a", "el-GR"),
        ("b", "el-GR"),
        ("c", "el-GR"),
    ]
    assert [each.duration_s for each in contents if isinstance(each, Utterance)] == [
        clip.duration_s for clip in clips(3)
    ]


def test_a_duration_column_is_taken_as_a_claim(tmp_path: Path) -> None:
    (first, *_) = read_all(parquet(tmp_path, table(duration=[9.0] * 3), locale="el-GR"))

    assert isinstance(first.content, Utterance)
    assert first.content.duration_s == 9.0


def test_a_class_label_is_looked_up(tmp_path: Path) -> None:
    info = {"info": {"features": {"lang": {"names": ["bg-BG", "el-GR"], "_type": "ClassLabel"}}}}
    labelled = table(lang=[1, 0, 1]).replace_schema_metadata({"huggingface": json.dumps(info)})

    rows = read_all(parquet(tmp_path, labelled))

    assert [row.content.locale for row in rows] == ["el-GR", "bg-BG", "el-GR"]


def test_no_column_of_text_is_an_error_with_the_key_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_all(parquet(tmp_path, table(text="words")))

    assert "words" in caught.value.message
    assert "columns: {text: ...}" in caught.value.fix


def test_a_damaged_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    corpus = write_hf_parquet(tmp_path, clips(2))
    path = next(tmp_path.glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match=r"train-0\.parquet: cannot be read as Parquet"):
        read_all(corpus)


def test_broken_lines_of_common_voice_are_rejected_one_by_one(tmp_path: Path) -> None:
    corpus = write_common_voice(tmp_path, clips(2))
    with (tmp_path / "train.tsv").open("ab") as file:
        file.write(b"speaker\tclip0.mp3\thalf\n")
        file.write("speaker\tclip0.mp3\tdéjà\t1\tel\n".encode("latin-1"))
        file.write(b'speaker\tclip0\t"quoted"\t1\tel\n')
        file.write(b"speaker\tabsent.mp3\tno audio\t1\tel\n")

    assert reasons(corpus) == [
        None,
        None,
        Reason.MISSING_FIELD,
        Reason.BAD_ENCODING,
        None,
        Reason.MISSING_AUDIO,
    ]
    assert read_all(corpus)[4].content.text == '"quoted"'  # type: ignore[union-attr]


def test_a_list_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a\tb\n1\t2\n")

    with pytest.raises(DataError, match="no column path, sentence"):
        read_all(CorpusSettings(path=str(tmp_path), source="s", format="common_voice"))


def test_another_split_is_chosen_by_name(tmp_path: Path) -> None:
    corpus = write_common_voice(tmp_path, clips(2))
    (tmp_path / "train.tsv").rename(tmp_path / "dev.tsv")

    assert reasons(corpus.model_copy(update={"split": "dev"})) == [None, None]
    with pytest.raises(DataError, match=r"no train\.tsv matches"):
        reasons(corpus)


def test_fleurs_without_the_column_of_characters(tmp_path: Path) -> None:
    corpus = write_fleurs(tmp_path, clips(3))
    tsv = tmp_path / "el_gr" / "train.tsv"
    six = [line.replace("\tκ | α |", "") for line in tsv.read_text(encoding="utf-8").splitlines()]
    tsv.write_text("\n".join([*six, "1\ttoo few"]), encoding="utf-8")

    assert reasons(corpus) == [None, None, None, Reason.MISSING_FIELD]


def test_fleurs_takes_the_locale_of_the_settings_before_that_of_the_folder(tmp_path: Path) -> None:
    corpus = write_fleurs(tmp_path, clips(1))
    (tmp_path / "el_gr").rename(tmp_path / "es_419")

    def locale(**update: object) -> str:
        return read_all(corpus.model_copy(update=update))[0].content.locale

    assert locale() == "es-419"
    assert locale(locale="es-US") == "es-US"


def test_fleurs_text_can_be_the_normalised_one(tmp_path: Path) -> None:
    corpus = write_fleurs(tmp_path, clips(1))

    (row,) = read_all(corpus.model_copy(update={"columns": ColumnSettings(text="transcription")}))

    assert isinstance(row.content, Utterance)
    assert row.content.text == clips(1)[0].text.lower()
