"""Text files line by line, as bytes, so that one damaged line is one rejected row.

Of a plain file the lines are found again by their bytes. A compressed one has to be unpacked from its
beginning, so its spans are blocks of lines; there are few of them, for each costs such a pass.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from asr_ray.data import storage
from asr_ray.data.corpus.span import Place, Span
from asr_ray.errors import DataError

_MAX_BLOCKS = 64


class Line(NamedTuple):
    """One line with its end, its number from 1, and what reads it again."""

    span: Span
    number: int
    content: bytes


def is_compressed(file: str) -> bool:
    """Whether lines of a file are found only by unpacking it."""
    return file.endswith(".gz")


def split_lines(file: str, *, rows_per_span: int, header: bool = False) -> Iterator[Span]:
    """Cut a text file into spans of at most `rows_per_span` lines, or a compressed one into blocks.

    Args:
        file: path or URL.
        rows_per_span: blocks may be larger.
        header: leave out the first line.

    Raises:
        DataError: the file is damaged as a whole.
    """
    if is_compressed(file):
        yield from _split_compressed(file, rows_per_span=rows_per_span)
        return
    start, position, first_row, number = 0, 0, 1, 0
    with storage.open_file(file) as lines:
        for number, line in enumerate(lines, 1):
            position += len(line)
            if number == 1 and header:
                start, first_row = position, 2
            elif number - first_row + 1 == rows_per_span:
                yield Span(file=file, start=start, stop=position, first_row=first_row)
                start, first_row = position, number + 1
    if position > start:
        yield Span(file=file, start=start, stop=position, first_row=first_row)


def _split_compressed(file: str, *, rows_per_span: int) -> Iterator[Span]:
    with _unpacked(file) as lines:
        num_lines = sum(1 for _ in lines)
    size = max(rows_per_span, math.ceil(num_lines / _MAX_BLOCKS))
    for start in range(0, num_lines, size):
        stop = min(start + size, num_lines)
        yield Span(file=file, start=start, stop=stop, first_row=start + 1, is_block=True)


def read_lines(span: Span, *, wanted: Collection[Place] | None = None) -> Iterator[Line]:
    """Yield the lines of a span.

    Args:
        span: from `split_lines`, or of a single line.
        wanted: leave out lines of which no row is wanted.

    Raises:
        DataError: the file is damaged as a whole.
    """
    numbers = None if wanted is None else {number for number, _ in wanted}
    for line in _compressed_lines(span) if span.is_block else _plain_lines(span):
        if numbers is None or line.number in numbers:
            yield line


def _plain_lines(span: Span) -> Iterator[Line]:
    position = span.start
    lines = io.BytesIO(storage.read_range(span.file, start=span.start, stop=span.stop))
    for number, line in enumerate(lines, span.first_row):
        alone = Span(file=span.file, start=position, stop=position + len(line), first_row=number)
        position += len(line)
        yield Line(alone, number, line)


def _compressed_lines(span: Span) -> Iterator[Line]:
    with _unpacked(span.file) as lines:
        for number, line in enumerate(islice(lines, span.start, span.stop), span.first_row):
            yield Line(span, number, line)


@contextmanager
def _unpacked(file: str) -> Iterator[gzip.GzipFile]:
    try:
        with storage.open_file(file) as packed, gzip.open(packed) as lines:
            yield lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{file}: cannot be unpacked: {error}", fix="write it again; it is damaged or cut short"
        ) from None
