"""The speech that is scored: prepared folders as they are, manifests and corpora prepared in place first.

Nothing of a test set is left out: for training a doubtful row is better put aside, but a score over other
utterances than its neighbours' is no score. A row that cannot be decoded at all is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from asr_ray.data.catalog import Catalog
from asr_ray.data.read import RowAddress, addresses
from asr_ray.data.shards import prepare
from asr_ray.data.shuffle import Int64s
from asr_ray.errors import ConfigError, DataError
from asr_ray.records import Tokenizer
from asr_ray.settings import CheckSettings, CorpusSettings, EvaluateSettings, PrepareSettings
from asr_ray.settings.evaluate import PREPARED, TestSource

CATALOG = "catalog.parquet"

_MANIFESTS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")

# What a row needs to be decoded and scored, and nothing that only training asks for.
_CHECKS = CheckSettings(
    min_duration_s=1e-3,
    max_duration_s=24 * 3600.0,
    duration_tolerance_s=0.5,
    max_characters_per_s=1e6,
    min_characters_per_s=0.0,
    silence_peak=0.0,
    min_script_share=0.0,
    max_unknown_share=1.0,
    max_rejected_share=0.0,
    same_audio="count",
    empty_text="keep",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """Prepared speech and which of it is scored.

    Attributes:
        rows: chosen rows of the catalog, rising.
        ids, locales: of these rows, in their order.
    """

    __test__ = False

    root: Path
    catalog: Catalog
    rows: Int64s
    ids: Sequence[str]
    locales: Sequence[str]

    def ids_of(self, locales: Collection[str]) -> list[str]:
        """Ids of the utterances of some locales."""
        return [name for name, tag in zip(self.ids, self.locales, strict=True) if tag in locales]

    def rows_of(self, ids: Iterable[str]) -> list[int]:
        """Rows of some utterances."""
        row_of_id = dict(zip(self.ids, self.rows.tolist(), strict=True))
        return [row_of_id[name] for name in ids]

    @property
    def audio_s(self) -> float:
        """Seconds of speech to decode."""
        return float(self.catalog.durations_s[self.rows].sum())

    def durations_s(self, rows: Int64s) -> list[float]:
        """Seconds of some rows."""
        durations: list[float] = self.catalog.durations_s[rows].tolist()
        return durations

    def addresses(self, rows: Sequence[int]) -> list[RowAddress]:
        """Where some rows stand in the shards."""
        return addresses(self.catalog.table.take(pa.array(rows)))


def open_test_sets(
    settings: EvaluateSettings, *, tokenizer: Callable[[], Tokenizer], progress: Callable[[str, float], None]
) -> Mapping[str, TestSet]:
    """Open every test set of the settings; what is not prepared is prepared below `out` (needs Ray).

    Args:
        tokenizer: asked only where something has to be prepared.

    Raises:
        ConfigError: a path that is neither a prepared folder nor a manifest.
        DataError: a row that cannot be scored, or no utterance of a wanted locale.
    """
    opened = {}
    for name, source in settings.data.items():
        root = _prepared(source)
        if root is None:
            root = settings.out / PREPARED / name
            corpus = source if isinstance(source, CorpusSettings) else _manifest(source, name=name)
            checks = _CHECKS.model_copy(update={"new_locales": settings.new_locales})
            asked = PrepareSettings(corpora=[corpus], out=root, in_place=True, checks=checks)
            prepare(asked, tokenizer=tokenizer(), progress=progress)
        catalog = Catalog.read(root / CATALOG, ids=True)
        rows = _chosen_rows(catalog, settings=settings, where=str(root))
        chosen = catalog.table.select(["id", "locale"]).take(pa.array(rows)).to_pydict()
        opened[name] = TestSet(
            root=root.resolve(), catalog=catalog, rows=rows, ids=chosen["id"], locales=chosen["locale"]
        )
    return opened


def _prepared(source: TestSource) -> Path | None:
    """Return the folder of a catalog; None where there is something to prepare."""
    if isinstance(source, CorpusSettings):
        return None
    if source.name == CATALOG:
        return source.parent
    if source.is_dir() or not source.name.endswith(_MANIFESTS):
        if (source / CATALOG).is_file():
            return source
        raise ConfigError(
            f"data {str(source)!r}: no prepared folder, and no manifest ({', '.join(_MANIFESTS)})",
            fix="prepare it with jobs/prepare.py, or give path, source and format of a corpus",
        )
    return None


def _manifest(path: Path, *, name: str) -> CorpusSettings:
    return CorpusSettings(path=str(path), source=name)


def _chosen_rows(catalog: Catalog, *, settings: EvaluateSettings, where: str) -> Int64s:
    locale_of_row = np.array([locale for locale, _ in catalog.keys])[catalog.key_of_row]
    wanted = settings.locales or sorted(set(locale_of_row))
    chosen = [np.flatnonzero(locale_of_row == tag)[: settings.utterances_per_locale] for tag in wanted]
    missing = [tag for tag, rows in zip(wanted, chosen, strict=True) if not len(rows)]
    if missing:
        raise DataError(f"{where}: no utterance of {', '.join(missing)}", fix="prepare some, or leave it out")
    return np.sort(np.concatenate(chosen))
