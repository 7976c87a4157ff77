"""Utterances worth reading: what a model gained, what it lost, what is still wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from asr_ray.evaluate.scoring.diff import Edit, align
from asr_ray.evaluate.scoring.score import Counts, Hypothesis, count_pair, rows_by_id, rows_by_locale
from asr_ray.locales import unit_of

_ON_A_PAGE = 60
"""Examples of a group that somebody may still read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What one model wrote, aligned with the reference."""

    model: str
    edits: Sequence[Edit]
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance with the transcripts of one or two models, oldest model first."""

    id: str
    locale: str
    ref: str
    duration_s: float
    transcripts: Sequence[Transcript]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleGroup:
    """Examples chosen for one reason.

    Attributes:
        found: utterances that the reason holds for; the examples are the foremost of them.
        scored: all utterances.
    """

    title: str
    examples: Sequence[Example]
    found: int
    scored: int


@dataclass(frozen=True, slots=True)
class _Scored:
    """The rows of one utterance, one per model, and their counts."""

    rows: tuple[Hypothesis, ...]
    counts: tuple[Counts, ...]

    @property
    def errors_left(self) -> int:
        return self.counts[-1].errors

    @property
    def errors_added(self) -> int:
        return self.counts[-1].errors - self.counts[0].errors


def examples_per_locale(num_locales: int) -> int:
    """Return how many utterances of each locale a group shows: ten, or fewer where there are many locales."""
    return max(2, min(10, _ON_A_PAGE // max(num_locales, 1)))


def choose_examples(
    systems: Sequence[tuple[str, Sequence[Hypothesis]]], *, per_locale: int = 2
) -> list[ExampleGroup]:
    """Pick utterances to show, at most `per_locale` of each locale in each group.

    Groups of one model: most errors. Of two: became worse, largest gains, most errors left; an
    utterance stands in the first group that wants it. Ties go to the smaller id.

    Args:
        systems: (name, hypotheses) of one or two models on the same utterances, oldest first.
    """
    names = [name for name, _ in systems]
    by_id = [rows_by_id(rows) for _, rows in systems]
    scored = [_score(tuple(rows[row.id] for rows in by_id)) for row in systems[0][1]]
    wishes: list[tuple[str, Callable[[_Scored], int]]] = [("Most errors left", lambda item: item.errors_left)]
    if len(systems) > 1:
        wishes = [
            ("Became worse", lambda item: item.errors_added),
            ("Largest gains", lambda item: -item.errors_added),
            *wishes,
        ]
    groups, taken = [], set[str]()
    for title, wanted in wishes:
        chosen = _largest([item for item in scored if item.rows[0].id not in taken], wanted, per_locale)
        taken |= {item.rows[0].id for item in chosen}
        if chosen:
            groups.append(
                ExampleGroup(
                    title=title,
                    examples=[_example(item, names) for item in chosen],
                    found=sum(wanted(item) > 0 for item in scored),
                    scored=len(scored),
                )
            )
    return groups


def _score(rows: tuple[Hypothesis, ...]) -> _Scored:
    return _Scored(rows, tuple(count_pair(row, unit=unit_of(row.locale)) for row in rows))


def _largest(items: Iterable[_Scored], key: Callable[[_Scored], int], per_locale: int) -> list[_Scored]:
    """Return the items with the largest positive key, `per_locale` of each locale."""
    items = [item for item in items if key(item) > 0]
    by_id = {item.rows[0].id: item for item in items}
    chosen = []
    for _, rows in sorted(rows_by_locale(item.rows[0] for item in items).items()):
        ranked = sorted((by_id[row.id] for row in rows), key=lambda item: (-key(item), item.rows[0].id))
        chosen += ranked[:per_locale]
    return chosen


def _example(item: _Scored, names: Sequence[str]) -> Example:
    first = item.rows[0]
    transcripts = [
        Transcript(model=name, edits=align(row), counts=counts)
        for name, row, counts in zip(names, item.rows, item.counts, strict=True)
    ]
    return Example(
        id=first.id,
        locale=first.locale,
        ref=first.ref,
        duration_s=first.duration_s,
        transcripts=transcripts,
    )
