"""Which words, or characters, a model takes for which: the most frequent edits of each locale. Pure.

Counted over alignments as they are scored. Which of two neighbouring errors an alignment calls a
substitution and which a deletion depends on how it breaks ties; the lists are for reading, the totals for
comparing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kaldialign

from asr_ray.evaluate.scoring.counts import Hypothesis, compared_texts, rows_by_locale
from asr_ray.evaluate.scoring.normalise import tokens
from asr_ray.locales import unit_of

SHOWN = 10
"""Entries of each list."""

# No normalised token is a control character.
_GAP = "\x00"

Pair = tuple[str, str]
"""Reference token and written token; "" where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusions:
    """The edits of one model in one locale, by how often they occur.

    Attributes:
        counts: (said, written) -> occurrences; "" stands for nothing.
    """

    counts: Mapping[Pair, int]

    @property
    def substitutions(self) -> list[tuple[Pair, int]]:
        """The most frequent of one token for another."""
        return self._most_frequent({pair: n for pair, n in self.counts.items() if all(pair)})

    @property
    def deletions(self) -> list[tuple[Pair, int]]:
        """The most frequent tokens that were said and not written."""
        return self._most_frequent({pair: n for pair, n in self.counts.items() if not pair[1]})

    @property
    def insertions(self) -> list[tuple[Pair, int]]:
        """The most frequent tokens that were written and not said."""
        return self._most_frequent({pair: n for pair, n in self.counts.items() if not pair[0]})

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return {
            "substitutions": [[said, written, count] for (said, written), count in self.substitutions],
            "deletions": [[said, count] for (said, _), count in self.deletions],
            "insertions": [[written, count] for (_, written), count in self.insertions],
        }

    def _most_frequent(self, counts: Mapping[Pair, int]) -> list[tuple[Pair, int]]:
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]


def confusions_of(rows: Sequence[Hypothesis]) -> dict[str, Confusions]:
    """Count the edits of one model, locale by locale; silent references are left out, as in the rate."""
    found: dict[str, Confusions] = {}
    for locale, spoken in sorted(rows_by_locale(rows).items()):
        counts: Counter[Pair] = Counter()
        for row in spoken:
            counts.update(_edits(row))
        found[locale] = Confusions(counts=counts)
    return found


def _edits(row: Hypothesis) -> list[Pair]:
    unit = unit_of(row.locale)
    reference, written = (tokens(text, unit=unit) for text in compared_texts(row, view="normalised"))
    if not reference or reference == written:
        return []
    aligned = kaldialign.align(reference, written, _GAP)
    return [
        ("" if said == _GAP else said, "" if wrote == _GAP else wrote)
        for said, wrote in aligned
        if said != wrote
    ]
