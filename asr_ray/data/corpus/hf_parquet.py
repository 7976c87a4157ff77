"""Parquet files as Hugging Face writes audio data sets: a column of struct<bytes, path>, text, and more.

Columns are found by their usual names or named in `columns`. A locale that is stored as a number of a
ClassLabel is looked up in the metadata of the file. Rows without duration are measured. A row group is
the block in which rows are read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data import storage
from asr_ray.data.corpus.clip import clip
from asr_ray.data.corpus.content import BadRow, Fields, Speech, content_of
from asr_ray.data.corpus.nemo_manifest import no_match
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.errors import DataError
from asr_ray.records import Reason, Stored
from asr_ray.settings import ColumnSettings, CorpusSettings

_USUAL = {
    "audio": ("audio",),
    # Cased and punctuated before normalised.
    "text": ("text", "sentence", "raw_transcription", "transcription"),
    "locale": ("target_lang", "locale", "lang", "language"),
    "speaker": ("speaker_id", "speaker", "client_id"),
    "duration": ("duration",),
    "id": (),
}
_ROWS_HELD = 32


def files(corpus: CorpusSettings) -> list[str]:
    """Return the Parquet files of `corpus.path`, a file, a glob or a folder, sorted.

    Raises:
        DataError: there is none.
    """
    found = storage.find(corpus.path, inside="*.parquet") or storage.find(corpus.path, inside="*/*.parquet")
    if found:
        return found
    raise no_match(corpus, what="Parquet file")


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Yield the row groups of a file, whatever their size."""
    del rows_per_span
    with _opened(file) as parquet:
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    start = 0
    for size in sizes:
        if size:
            yield Span(file=file, start=start, stop=start + size, first_row=start + 1, is_block=True)
        start += size


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield the rows of the span with their audio, or as rejected rows."""
    with _opened(span.file) as parquet:
        columns = _columns(parquet.schema_arrow, named=corpus.columns, file=span.file)
        labels = _labels(parquet.schema_arrow, column=columns.get("locale"))
        for index, row in _rows(parquet, span=span, columns=columns):
            if wanted is not None and (index + 1, 0) not in wanted:
                continue
            content = content_of(
                origin=f"{span.file}:{index + 1}",
                corpus=corpus,
                fields=partial(_fields, row, columns=columns, labels=labels),
                speech=partial(_speech, file=span.file, index=index, column=columns["audio"], corpus=corpus),
            )
            yield Row(span=span, line=index + 1, content=content)


@contextmanager
def _opened(file: str) -> Iterator[pq.ParquetFile]:
    try:
        with storage.open_file(file) as handle, pq.ParquetFile(handle) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: cannot be read as Parquet: {error}", fix="fetch it again; it is damaged or cut short"
        ) from None


def _columns(schema: pa.Schema, *, named: ColumnSettings, file: str) -> Mapping[str, str]:
    """Return our name -> column of the file, for those that there are."""
    found: dict[str, str] = {}
    for name, usual in _USUAL.items():
        wanted: str | None = getattr(named, name)
        candidates = usual if wanted is None else (wanted,) if wanted else ()
        column = next((each for each in candidates if each in schema.names), None)
        if column is not None:
            found[name] = column
        elif wanted or name in ("audio", "text"):
            raise DataError(
                f"{file}: no column for {name} ({', '.join(candidates)}) among {', '.join(schema.names)}",
                fix=f"name it in the corpus settings: columns: {{{name}: ...}}",
            )
    return found


def _labels(schema: pa.Schema, *, column: str | None) -> Sequence[str]:
    """Return the names of a ClassLabel column, none for another."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return names if isinstance(names, list) else ()


def _rows(
    parquet: pq.ParquetFile, *, span: Span, columns: Mapping[str, str]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of a span, each with its index in the file; few are held at a time."""
    start = 0
    for group in range(parquet.num_row_groups):
        stop = start + parquet.metadata.row_group(group).num_rows
        if start < span.stop and span.start < stop:
            index = start
            batches = parquet.iter_batches(_ROWS_HELD, row_groups=[group], columns=list(columns.values()))
            for batch in batches:
                for row in range(batch.num_rows):
                    if span.start <= index < span.stop:
                        yield index, batch.slice(row, 1)
                    index += 1
        start = stop


def _fields(row: pa.RecordBatch, *, columns: Mapping[str, str], labels: Sequence[str]) -> Fields:
    try:
        values = row.to_pylist()[0]
    except UnicodeDecodeError as error:
        raise BadRow(Reason.BAD_ENCODING, f"not UTF-8: {error.reason} at byte {error.start}") from None
    fields: dict[str, Any] = {name: values[column] for name, column in columns.items()}
    locale = fields.get("locale")
    if labels and isinstance(locale, int) and 0 <= locale < len(labels):
        fields["locale"] = labels[locale]
    return fields


def _speech(fields: Fields, *, file: str, index: int, column: str, corpus: CorpusSettings) -> Speech:
    audio = fields["audio"]
    content, path = (audio.get("bytes"), audio.get("path")) if isinstance(audio, dict) else (audio, None)
    path = path if isinstance(path, str) else ""
    if not isinstance(content, bytes):
        if not path:
            raise BadRow(Reason.MISSING_AUDIO, "neither bytes nor path")
        content = storage.join(file, path)
    # Data sets have equal file names in the folders of their languages.
    place = ("/".join(PurePosixPath(file).parts[-2:]), str(index))
    stored = Stored(file=file, start=index, stop=index + 1, column=column)
    audio, stands = clip(content, name=path or "audio", stored=stored, channel=corpus.channel)
    name = storage.stem(path) or storage.stem(file)
    return Speech(audio=audio, name=name, place=place, stored=stands)
