"""Lhotse Shar: folders of `cuts.000000.jsonl.gz` with the audio in `recording.000000.tar` beside them.

Rows are those of `lhotse_cuts`; the audio of a cut is the member of the tar that is named after it, read by
its place in the file. Metadata and fields in other tars are not looked at, and nothing is unpickled.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from asr_ray.data import storage
from asr_ray.data.corpus.content import BadRow
from asr_ray.data.corpus.lhotse_cuts import rows_of
from asr_ray.data.corpus.lines import read_lines, split_lines
from asr_ray.data.corpus.nemo_manifest import no_match
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.data.corpus.tar_index import index, read_member
from asr_ray.records import Reason, Stored
from asr_ray.settings import CorpusSettings


def files(corpus: CorpusSettings) -> list[str]:
    """Return the cuts files of `corpus.path`, a folder or a glob of such files, sorted.

    Raises:
        DataError: there is none.
    """
    name = "cuts.*.jsonl*"
    if found := storage.find(corpus.path, inside=name) or storage.find(corpus.path, inside=f"*/{name}"):
        return found
    raise no_match(corpus, what="cuts.*.jsonl.gz")


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a file into blocks of at least `rows_per_span` cuts."""
    return split_lines(file, rows_per_span=rows_per_span)


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield every supervision of the span as an utterance with its audio, or as a rejected row."""
    load = partial(_member_of, tar=_tar_of(span.file))
    for line in read_lines(span, wanted=wanted):
        yield from rows_of(line, corpus=corpus, load=load, wanted=wanted)


def _tar_of(cuts: str) -> str:
    folder, name = posixpath.split(cuts)
    return posixpath.join(folder, f"recording.{name.split('.')[1]}.tar")


def _member_of(source: Mapping[str, Any], *, tar: str, cut_id: str) -> tuple[bytes, Stored]:
    if source.get("type") != "shar":
        raise BadRow(
            Reason.MISSING_AUDIO, f"cut {cut_id}: its source is {source.get('type')!r}, not in the tar"
        )
    for suffix in (".flac", ".wav", ".mp3", ".opus", ".ogg"):
        if cut_id + suffix in index(tar):
            return read_member(tar, cut_id + suffix)
    raise BadRow(Reason.MISSING_AUDIO, f"no audio of cut {cut_id} in {tar}")
