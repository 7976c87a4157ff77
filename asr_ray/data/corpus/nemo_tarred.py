"""NeMo's tarred data sets: JSONL manifests, and the audio in numbered uncompressed tar files.

`path` names one manifest per tar (`manifest__OP_0..127_CL_.json`) or a single one whose rows carry
`shard_id`; `tars` names the tars (`audio__OP_0..127_CL_.tar`). Both may also be globs. `audio_filepath` is a
member of the tar with the number of the manifest. Several segments of one recording share a member: NeMo
writes the second and later ones as `name-sub1.wav`, `name-sub2.wav`, each with its `offset`.

Fields as in `nemo_manifest`; rows with a true `_skipme` are left out, as NeMo does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath

from asr_ray.data import storage
from asr_ray.data.corpus.clip import clip
from asr_ray.data.corpus.content import BadRow, Fields, Speech, content_of, number, required
from asr_ray.data.corpus.lines import Line, read_lines, split_lines
from asr_ray.data.corpus.nemo_manifest import duration_of, manifest_fields, no_match
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.data.corpus.tar_index import index, read_member
from asr_ray.errors import DataError
from asr_ray.records import Reason
from asr_ray.settings import CorpusSettings

_RANGE = re.compile(r"(?:_OP_|\{)(\d+)\.\.(\d+)(?:_CL_|\})")
_NUMBER = re.compile(r"_(\d+)(?!.*_\d)")
_SUB = re.compile(r"(?P<stem>.+)-sub\d+(?P<suffix>\.\w+)?")


def files(corpus: CorpusSettings) -> list[str]:
    """Return the manifests, sorted.

    Raises:
        DataError: one of them is missing, or there is no tar.
    """
    found = _expand(corpus.path)
    if not found:
        raise no_match(corpus, what="manifest")
    if not _tars(corpus.tars or ""):
        raise DataError(f"corpus {corpus.source!r}: no tar matches {corpus.tars}", fix="correct `tars`")
    return found


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a manifest into spans of at most `rows_per_span` lines."""
    return split_lines(file, rows_per_span=rows_per_span)


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield the rows of the span, audio by byte range out of the tars."""
    for line in read_lines(span, wanted=wanted):
        if _is_left_out(line):
            continue
        content = content_of(
            origin=f"{span.file}:{line.number}",
            corpus=corpus,
            fields=partial(manifest_fields, line),
            speech=partial(_speech, manifest=span.file, corpus=corpus),
        )
        yield Row(span=line.span, line=line.number, content=content)


def _is_left_out(line: Line) -> bool:
    if b"_skipme" not in line.content:
        return False
    try:
        return bool(manifest_fields(line).get("_skipme"))
    except BadRow:
        return False  # read again and rejected


def _speech(fields: Fields, *, manifest: str, corpus: CorpusSettings) -> Speech:
    name, duration_s, offset_s = (
        required(fields, "audio_filepath"),
        duration_of(fields),
        number(fields, "offset"),
    )
    tar = _tar_of(fields, manifest=manifest, tars=_tars(corpus.tars or ""))
    member = _member(tar, name)
    content, place_in_tar = read_member(tar, member)
    audio, stored = clip(
        content,
        name=f"{member} in {tar}",
        stored=place_in_tar,
        offset_s=offset_s,
        duration_s=duration_s,
        channel=corpus.channel,
    )
    place = (storage.stem(tar), name, str(offset_s or 0.0))
    return Speech(audio=audio, name=PurePosixPath(name).stem, place=place, stored=stored)


def _tar_of(fields: Fields, *, manifest: str, tars: Mapping[int, str]) -> str:
    """Return the tar of a row: that with the number of its manifest, else that of its `shard_id`."""
    in_row = number(fields, "shard_id")
    in_name = _NUMBER.search(PurePosixPath(manifest).name)
    found = tars.get(int(in_name[1])) if in_name else None
    if found is None and in_row is not None:
        found = tars.get(int(in_row)) if abs(in_row) < 2**53 else None
    if found is None and len(tars) == 1 and in_row is None:
        (found,) = tars.values()
    if found is None:
        raise BadRow(Reason.MISSING_AUDIO, f"no tar for shard_id {in_row} of {PurePosixPath(manifest).name}")
    return found


def _member(tar: str, name: str) -> str:
    """Return the member that holds a row: its own, or the one that several segments share."""
    shared = _SUB.fullmatch(name)
    if shared is None or name in index(tar):
        return name
    return shared["stem"] + (shared["suffix"] or "")


@functools.lru_cache(maxsize=64)
def _tars(pattern: str) -> Mapping[int, str]:
    """Return the tars behind a pattern by their number; a single one may have none."""
    found = _expand(pattern)
    numbers = [_NUMBER.search(PurePosixPath(path).name) for path in found]
    return {
        int(match[1]) if match else -1 - place: path
        for place, (match, path) in enumerate(zip(numbers, found, strict=True))
    }


def _expand(pattern: str) -> list[str]:
    """Return the files behind a glob or a numbered pattern; each file of the latter must be there."""
    numbered = _RANGE.search(pattern)
    if numbered is None:
        return storage.find(pattern)
    first, last = numbered[1], numbered[2]
    names = [
        pattern[: numbered.start()] + str(value).zfill(len(first)) + pattern[numbered.end() :]
        for value in range(int(first), int(last) + 1)
    ]
    found = [path for name in names for path in storage.find(name)]
    if len(found) != len(names):
        raise DataError(
            f"{pattern}: {len(found)} files of the {len(names)} that it names",
            fix="check the range against the folder",
        )
    return found
