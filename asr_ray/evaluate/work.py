"""What is left to decode, cut into pieces that one actor decodes between two results. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from asr_ray.evaluate.conditions import Condition


class Task(NamedTuple):
    """One model under one condition: one set of hypotheses."""

    model: str
    condition: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Utterances of similar length that the same tasks still need.

    Attributes:
        rows: of the catalog, the longest first.
    """

    data: str
    rows: tuple[int, ...]
    tasks: tuple[Task, ...]


def pieces(
    durations_s: Mapping[int, float],
    *,
    data: str,
    done: Mapping[Task, Collection[int]],
    piece_s: float,
) -> Iterator[Piece]:
    """Yield what is left of a test set, the longest utterances first.

    Long ones first: at the end of a run the actors then wait for each other over short pieces. Rows are
    grouped by the tasks that need them, so that a run that was stopped, or asked for another context,
    decodes each utterance once.

    Args:
        durations_s: row -> seconds, of every row to be scored.
        done: task -> rows that it has decoded; the tasks are those of this test set.
        piece_s: seconds of audio of a piece; one utterance may be longer.
    """
    by_tasks: defaultdict[tuple[Task, ...], list[int]] = defaultdict(list)
    known = {task: frozenset(rows) for task, rows in done.items()}
    for row in sorted(durations_s, key=lambda row: (-durations_s[row], row)):
        needed = tuple(task for task, rows in known.items() if row not in rows)
        if needed:
            by_tasks[needed].append(row)
    for tasks, rows in by_tasks.items():
        for part in _cut(rows, durations_s=durations_s, piece_s=piece_s):
            yield Piece(data=data, rows=tuple(part), tasks=tasks)


def _cut(rows: Sequence[int], *, durations_s: Mapping[int, float], piece_s: float) -> Iterator[Sequence[int]]:
    part: list[int] = []
    seconds = 0.0
    for row in rows:
        if part and seconds + durations_s[row] > piece_s:
            yield part
            part, seconds = [], 0.0
        part.append(row)
        seconds += durations_s[row]
    if part:
        yield part
