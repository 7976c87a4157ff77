"""NeMo JSONL manifests: one JSON object per line, audio in files beside it.

Fields: `audio_filepath` (relative to the manifest, absolute, or a URL), `duration`, `text`, `target_lang`
or `lang`; optional `offset`, `id`, `speaker`, `prompt_mode`, `source`, `sampling_rate` or `sample_rate`. The
file is read as bytes, line by line, so that one damaged line is one rejected row and the lines behind it
are still read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from asr_ray.data import storage
from asr_ray.data.corpus.clip import clip
from asr_ray.data.corpus.content import (
    BadRow,
    Fields,
    Speech,
    content_of,
    number,
    optional,
    parse_json,
    required,
)
from asr_ray.data.corpus.lines import Line, read_lines, split_lines
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.errors import DataError
from asr_ray.records import Reason
from asr_ray.settings import CorpusSettings


def files(corpus: CorpusSettings) -> list[str]:
    """Return the manifests behind `corpus.path`, a file or a glob, sorted.

    Raises:
        DataError: there is none.
    """
    if found := storage.find(corpus.path):
        return found
    raise no_match(corpus, what="manifest")


def no_match(corpus: CorpusSettings, *, what: str) -> DataError:
    """Return the error that a corpus has no file."""
    return DataError(
        f"corpus {corpus.source!r}: no {what} matches {corpus.path}",
        fix="check the path or the glob (relative paths start where the command runs)",
    )


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a manifest into spans of at most `rows_per_span` lines."""
    return split_lines(file, rows_per_span=rows_per_span)


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield every line of the span as an utterance with its audio, or as a rejected row."""
    for line in read_lines(span, wanted=wanted):
        content = content_of(
            origin=f"{span.file}:{line.number}",
            corpus=corpus,
            fields=partial(manifest_fields, line),
            speech=partial(_speech, manifest=span.file, corpus=corpus),
        )
        yield Row(span=line.span, line=line.number, content=content)


def manifest_fields(line: Line) -> Fields:
    """Return the fields of a manifest line under the names of `content`, or raise `BadRow`."""
    fields = parse_json(line.content, is_first=line.number == 1)
    return fields | {"locale": optional(fields, "target_lang", "lang")}


def _speech(fields: Fields, *, manifest: str, corpus: CorpusSettings) -> Speech:
    audio_filepath = required(fields, "audio_filepath")
    offset_s = number(fields, "offset")
    audio, stored = clip(
        storage.join(manifest, audio_filepath),
        offset_s=offset_s,
        duration_s=duration_of(fields),
        channel=corpus.channel,
    )
    path = _inside(manifest, audio_filepath)
    place = (storage.stem(manifest), path.as_posix(), str(offset_s or 0.0))
    return Speech(audio=audio, name=path.stem, place=place, stored=stored)


def duration_of(fields: Fields) -> float:
    """Return the duration that a manifest must state, or raise `BadRow`."""
    duration_s = number(fields, "duration")
    if duration_s is None:
        raise BadRow(Reason.MISSING_FIELD, "no number under `duration`")
    return duration_s


def _inside(manifest: str, audio_filepath: str) -> Path:
    """Return an audio path relative to the manifest's folder if it stands in there."""
    path, folder = Path(audio_filepath), Path(manifest).parent
    return path.relative_to(folder) if path.is_absolute() and path.is_relative_to(folder) else path
