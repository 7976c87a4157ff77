"""Where rows of a corpus stand, cheaply: the unit that preparation hands to its tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from asr_ray.records import Rejected, Utterance
from asr_ray.settings import CorpusSettings

Place = tuple[int, int]
"""Line and part of a row, see `Row`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Consecutive rows of one corpus file.

    Attributes:
        file: path or URL as `asr_ray.data.storage` takes it.
        start, stop: in the unit of the reader, stop not included: bytes of a text file, lines of a
            compressed one, rows of a Parquet file.
        first_row: number of the first row as people count lines, from 1.
        is_block: whether a row in it is found only by reading all of it (compressed lines, a Parquet
            row group); preparation then keeps its rows together.
    """

    file: str
    start: int
    stop: int
    first_row: int
    is_block: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a corpus with what reads it again.

    Attributes:
        span: the row alone, or the block that it stands in.
        line: its number as people count lines, from 1.
        part: which of several rows on the same line.
    """

    span: Span
    line: int
    part: int = 0
    content: Utterance | Rejected

    @property
    def place(self) -> Place:
        """What tells the row from others of its span."""
        return self.line, self.part


class Reader(Protocol):
    """What a corpus format must offer; a module with these functions is one."""

    def files(self, corpus: CorpusSettings, /) -> list[str]:
        """Files that list the rows, sorted; their size and time decide whether anything is new.

        Raises:
            DataError: there is none.
        """
        ...

    def split(self, file: str, /, *, rows_per_span: int) -> Iterator[Span]:
        """Cut a file into spans without reading audio.

        Raises:
            DataError: the file as a whole cannot be read.
        """
        ...

    def read(
        self, span: Span, /, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None
    ) -> Iterator[Row]:
        """Yield the rows of a span with their audio; a bad row is yielded as `Rejected`, never raised.

        Args:
            span: from `split`, or of a row.
            corpus: the settings of the file's corpus.
            wanted: only these rows; others cost no audio.

        Raises:
            DataError: storage fails in a way that is no fault of a row.
        """
        ...
