"""Numbers as people read them, the same in every report and table."""

from __future__ import annotations

from collections.abc import Sequence


def percent(share: float, *, digits: int = 2) -> str:
    """Return a share as a percentage: 0.1234 -> "12.34%"."""
    return f"{100 * share:.{digits}f}%"


def audio_time(seconds: float) -> str:
    """Return seconds of audio as hours or minutes, whichever reads better."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 5400 else f"{seconds / 60:,.1f} min"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is due: "1 row", "1,200 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
