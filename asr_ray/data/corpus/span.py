"""Where rows of a corpus stand, cheaply: the unit that preparation hands to its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from asr_ray.records import Rejected, Utterance
from asr_ray.settings import CorpusSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Consecutive rows of one corpus file, or a single one.

    Attributes:
        start, stop: bytes of the file, stop not included.
        first_row: number of the first row as people count lines, from 1.
    """

    file: Path
    start: int
    stop: int
    first_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a corpus with the span that reads it again alone."""

    span: Span
    content: Utterance | Rejected


class Reader(Protocol):
    """What a corpus format must offer; a module with these functions is one."""

    def files(self, corpus: CorpusSettings, /) -> list[Path]:
        """Files that list the rows, sorted; their size and time decide whether anything is new."""
        ...

    def split(self, file: Path, /, *, rows_per_span: int) -> Iterator[Span]:
        """Cut a file into spans without reading audio."""
        ...

    def read(self, span: Span, /, *, corpus: CorpusSettings) -> Iterator[Row]:
        """Yield each row of a span with its audio; a bad row is yielded as `Rejected`, never raised."""
        ...
