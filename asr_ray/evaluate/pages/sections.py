"""Slices and confusions of one or two models, laid out as tables and lists for the report. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asr_ray.evaluate.scoring.confusions import Confusions, Pair
from asr_ray.evaluate.scoring.counts import Counts
from asr_ray.evaluate.scoring.slices import (
    FEW_TOKENS,
    Dimension,
    Slices,
    SpeakerSpread,
    band_names,
    spread_of_speakers,
)

_MOST_SOURCES = 8

_TITLES: Mapping[Dimension, str] = {
    "duration": "By duration",
    "snr": "By signal-to-noise ratio, estimated",
    "source": "By source",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One slice of one locale: the newest model, and the base where there are two.

    Attributes:
        is_few: too few tokens for a rate to mean much.
    """

    last: Counts
    base: Counts | None
    is_few: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTable:
    """Locales down, slices of one dimension across; None where a locale has nothing there.

    Attributes:
        left_out: slices beyond the most that a table shows.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionEntry:
    """One frequent edit; `before` is how often the base made it, None with one model."""

    said: str
    written: str
    count: int
    before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleConfusions:
    """The most frequent edits of one locale."""

    locale: str
    substitutions: Sequence[ConfusionEntry]
    deletions: Sequence[ConfusionEntry]
    insertions: Sequence[ConfusionEntry]


def slice_tables(slices: Mapping[str, Slices]) -> list[SliceTable]:
    """Return a table for each dimension that has more than one slice.

    Args:
        slices: of one or two models on the same utterances, the base first.
    """
    if not slices:
        return []
    base, *_, last = [*slices.values()] * 2
    found = []
    for dimension, title in _TITLES.items():
        columns = _columns(last, dimension)
        if len(columns) < 2:
            continue
        shown = columns if dimension != "source" else columns[:_MOST_SOURCES]
        rows = []
        for locale, cut in last.items():
            before = base[locale].get(dimension, {}) if len(slices) > 1 else {}
            after = cut.get(dimension, {})
            rows.append((locale, [_cell(name, after=after, before=before) for name in shown]))
        found.append(SliceTable(title=title, columns=shown, rows=rows, left_out=len(columns) - len(shown)))
    return found


def speaker_rows(slices: Mapping[str, Slices]) -> list[tuple[str, SpeakerSpread]]:
    """Return how the newest model fares over the speakers of each locale that names some."""
    if not slices:
        return []
    last = list(slices.values())[-1]
    spreads = ((locale, spread_of_speakers(cut.get("speaker", {}))) for locale, cut in last.items())
    return [(locale, spread) for locale, spread in spreads if spread]


def confusion_lists(confusions: Mapping[str, Mapping[str, Confusions]]) -> list[LocaleConfusions]:
    """Return the most frequent edits of the newest model, each beside how often the base made it.

    Args:
        confusions: of one or two models, the base first.
    """
    if not confusions:
        return []
    base, *_, last = [*confusions.values()] * 2
    found = []
    for locale, edits in last.items():
        before = base[locale].counts if len(confusions) > 1 else None
        lists = [_entries(each, before) for each in (edits.substitutions, edits.deletions, edits.insertions)]
        if any(lists):
            found.append(
                LocaleConfusions(
                    locale=locale, substitutions=lists[0], deletions=lists[1], insertions=lists[2]
                )
            )
    return found


def _columns(slices: Slices, dimension: Dimension) -> list[str]:
    """Return the slices that occur: bands rising, sources by the tokens in them."""
    tokens: Counter[str] = Counter()
    for cut in slices.values():
        tokens.update({name: counts.tokens for name, counts in cut.get(dimension, {}).items()})
    if dimension == "source":
        return sorted(tokens, key=lambda name: (-tokens[name], name))
    return [name for name in band_names(dimension) if name in tokens]


def _cell(name: str, *, after: Mapping[str, Counts], before: Mapping[str, Counts]) -> Cell | None:
    counts = after.get(name)
    if counts is None:
        return None
    return Cell(last=counts, base=before.get(name), is_few=counts.tokens < FEW_TOKENS)


def _entries(edits: Iterable[tuple[Pair, int]], before: Mapping[Pair, int] | None) -> list[ConfusionEntry]:
    return [
        ConfusionEntry(
            said=said,
            written=written,
            count=count,
            before=None if before is None else before.get((said, written), 0),
        )
        for (said, written), count in edits
    ]
