"""Speech to judge on: a fixed, small choice of utterances per locale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asr_ray.data.catalog import Catalog
from asr_ray.data.read import addresses, read_utterances
from asr_ray.errors import DataError
from asr_ray.records import Utterance


def heldout_locales(root: Path) -> list[str]:
    """Return the locales of a prepared folder, sorted."""
    return sorted({locale for locale, _ in Catalog.read(root / "catalog.parquet").keys})


def read_heldout(
    root: Path, *, locales: Sequence[str], utterances_per_locale: int | None
) -> dict[str, list[Utterance]]:
    """Return the first utterances of each locale; preparation has ordered them by a hash of their id.

    Args:
        root: folder written by jobs/prepare.py.
        utterances_per_locale: None takes all.

    Raises:
        DataError: a locale has no utterance there.
    """
    catalog = Catalog.read(root / "catalog.parquet")
    locale_of_key = np.array([locale for locale, _ in catalog.keys])
    chosen: dict[str, list[Utterance]] = {}
    for locale in locales:
        rows = np.flatnonzero((locale_of_key == locale)[catalog.key_of_row])[:utterances_per_locale]
        if not len(rows):
            known = ", ".join(sorted(set(locale_of_key)))
            raise DataError(
                f"{root}: no utterance of {locale} (it has {known})", fix="prepare some, or leave it out"
            )
        chosen[locale] = read_utterances(root, addresses(catalog.table.take(rows)))
    return chosen
