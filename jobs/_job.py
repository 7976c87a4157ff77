"""What a job is given, and how it shows what it found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Job(Generic[S]):
    """One call of a job.

    Attributes:
        settings: validated settings, or what a job makes of them.
        config: file they came from, to be named in what to do next.
        sets: overrides, as given.
        as_json: whether standard output shall hold one JSON object and nothing else.
    """

    settings: S
    config: Path | None
    sets: Sequence[str]
    as_json: bool

    def show(self, result: Mapping[str, Any], *, human: Callable[[Console], None]) -> None:
        """Write the result as JSON, or let `human` draw it."""
        if self.as_json:
            sys.stdout.write(json.dumps(result, ensure_ascii=False, default=str) + "\n")
            return
        from rich.console import Console

        human(Console(highlight=False))
