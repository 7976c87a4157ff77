"""FLEURS as published: a folder per language with `train.tsv` and its like, WAV files in `audio/train/`.

The lists have no header. Their columns: sentence id, file name, raw transcription, transcription,
characters (left out in some copies), number of samples at 16 kHz, gender. The raw transcription, cased and
punctuated, is taken; `columns: {text: transcription}` takes the other. The locale is that of the settings,
else of the folder (`el_gr`). Sentence ids are no ids of utterances: several people read each sentence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import PurePosixPath

from asr_ray.data import storage
from asr_ray.data.corpus.clip import clip
from asr_ray.data.corpus.common_voice import files, values_of
from asr_ray.data.corpus.content import BadRow, Fields, Speech, content_of, required
from asr_ray.data.corpus.lines import Line, read_lines, split_lines
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.records import SAMPLE_RATE, Reason
from asr_ray.settings import CorpusSettings

__all__ = ["files", "read", "split"]

_NUM_COLUMNS = (6, 7)
_FOLDER = re.compile(r"([a-z]{2,3})_([a-z]{2}|[0-9]{3})")
_NAMED_OTHERWISE = {"cmn_hans_cn": "zh-CN"}


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a list into spans of at most `rows_per_span` lines."""
    return split_lines(file, rows_per_span=rows_per_span)


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield every line of the span as an utterance with its audio, or as a rejected row."""
    for line in read_lines(span, wanted=wanted):
        content = content_of(
            origin=f"{span.file}:{line.number}",
            corpus=corpus,
            fields=partial(_fields, line, corpus=corpus),
            speech=partial(_speech, file=span.file, corpus=corpus),
        )
        yield Row(span=line.span, line=line.number, content=content)


def _fields(line: Line, *, corpus: CorpusSettings) -> Fields:
    values = values_of(line)
    if len(values) not in _NUM_COLUMNS:
        raise BadRow(Reason.MISSING_FIELD, f"{len(values)} columns; 7 are expected")
    num_samples = values[-2]
    return {
        "file_name": values[1],
        "text": values[3] if corpus.columns.text == "transcription" else values[2],
        "locale": corpus.locale or _locale_of(line.span.file),
        "duration": int(num_samples) / SAMPLE_RATE if re.fullmatch(r"[0-9]{1,12}", num_samples) else None,
    }


def _locale_of(file: str) -> str | None:
    folder = PurePosixPath(file).parent.name
    match = _FOLDER.fullmatch(folder)
    return _NAMED_OTHERWISE.get(folder) or (f"{match[1]}-{match[2].upper()}" if match else None)


def _speech(fields: Fields, *, file: str, corpus: CorpusSettings) -> Speech:
    path = f"audio/{storage.stem(file)}/{required(fields, 'file_name')}"
    audio, stored = clip(storage.join(file, path), channel=corpus.channel)
    return Speech(audio=audio, name=storage.stem(path), place=(path,), stored=stored)
