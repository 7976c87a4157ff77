"""Common Voice releases: `train.tsv` and its like with a header, MP3 files in `clips/` beside them.

Columns: `path`, `sentence`; optional `client_id` (the speaker) and `locale`. The lists are written without
quoting. There are no durations, so the audio is measured.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from functools import partial

from asr_ray.data import storage
from asr_ray.data.corpus.clip import clip
from asr_ray.data.corpus.content import BadRow, Fields, Speech, content_of, decode_line, required
from asr_ray.data.corpus.lines import Line, read_lines, split_lines
from asr_ray.data.corpus.nemo_manifest import no_match
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.errors import DataError
from asr_ray.records import Reason
from asr_ray.settings import CorpusSettings

_MAX_HEADER_BYTES = 65_536


def files(corpus: CorpusSettings) -> list[str]:
    """Return the lists of `corpus.path`, sorted: that file, or the split in that folder or those below.

    Raises:
        DataError: there is none.
    """
    name = f"{corpus.split}.tsv"
    if found := storage.find(corpus.path, inside=name) or storage.find(corpus.path, inside=f"*/{name}"):
        return found
    raise no_match(corpus, what=name)


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a list into spans of at most `rows_per_span` lines, without its header.

    Raises:
        DataError: the header lacks a column.
    """
    _header(file, storage.marker(file))
    return split_lines(file, rows_per_span=rows_per_span, header=True)


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield every line of the span as an utterance with its audio, or as a rejected row."""
    header = _header(span.file, storage.marker(span.file))
    for line in read_lines(span, wanted=wanted):
        content = content_of(
            origin=f"{span.file}:{line.number}",
            corpus=corpus,
            fields=partial(_fields, line, header=header),
            speech=partial(_speech, file=span.file, corpus=corpus),
        )
        yield Row(span=line.span, line=line.number, content=content)


def values_of(line: Line) -> list[str]:
    """Return the values of a line of a TSV file without quoting, or raise `BadRow`."""
    return decode_line(line.content, is_first=line.number == 1).rstrip("\r\n").split("\t")


@functools.lru_cache(maxsize=64)
def _header(file: str, _version: tuple[int, str]) -> Sequence[str]:
    with storage.open_file(file) as lines:
        first = lines.readline(_MAX_HEADER_BYTES)
    names = first.decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    if missing := {"path", "sentence"} - set(names):
        raise DataError(
            f"{file}: no column {', '.join(sorted(missing))} in the header",
            fix="give the folder of a Common Voice release, or one of its lists (train.tsv)",
        )
    return names


def _fields(line: Line, *, header: Sequence[str]) -> Fields:
    values = values_of(line)
    if len(values) != len(header):
        raise BadRow(Reason.MISSING_FIELD, f"{len(values)} columns, the header has {len(header)}")
    row = dict(zip(header, values, strict=True))
    return {
        "path": row["path"],
        "text": row["sentence"],
        "locale": row.get("locale"),
        "speaker": row.get("client_id"),
    }


def _speech(fields: Fields, *, file: str, corpus: CorpusSettings) -> Speech:
    name = required(fields, "path")
    # Early releases leave the suffix out.
    path = f"clips/{name}" if "." in name else f"clips/{name}.mp3"
    audio, stored = clip(storage.join(file, path), channel=corpus.channel)
    return Speech(audio=audio, name=storage.stem(path), place=(path,), stored=stored)
