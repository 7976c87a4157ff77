"""What a preparation made of its corpora: the content of `summary.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_ray.data import storage
from asr_ray.data.checks.duplicates import Overlaps, RepeatedText
from asr_ray.data.checks.fingerprints import digest_of_held_out
from asr_ray.data.checks.quarantine import Tally
from asr_ray.data.checks.survey import CorpusFile
from asr_ray.records import Tokenizer
from asr_ray.settings import PrepareSettings

SUMMARY = "summary.json"
CATALOG = "catalog.parquet"
QUARANTINE = "quarantine.parquet"
REPORT = "data_report.html"

_LAYOUT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Speech of one locale and source that is ready."""

    locale: str
    source: str
    utterances: int
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSummary:
    """Outcome of a preparation.

    Attributes:
        out: folder that holds it.
        prepared: one entry per (locale, source), sorted.
        rejected: name of a `quarantine.Tally` -> reason code -> rows.
        overlaps: what accepted rows share with each other and with held-out speech.
        inputs_digest: sha256 over settings, manifests (path, size, time) and tokenizer.
        exit_code: 0, or 3 when too many rows were rejected.
        reused: whether an earlier run of the same inputs was found; never stored.
    """

    out: Path
    prepared: tuple[Prepared, ...]
    rejected: Mapping[str, Mapping[str, int]]
    overlaps: Overlaps
    tokenizer_digest: str
    inputs_digest: str
    exit_code: int
    reused: bool = False

    @property
    def hours(self) -> float:
        """Hours of speech over all locales."""
        return sum(each.hours for each in self.prepared)

    @property
    def utterances(self) -> int:
        """Utterances over all locales."""
        return sum(each.utterances for each in self.prepared)

    @property
    def num_rejected(self) -> int:
        """Rows in quarantine."""
        return sum(sum(reasons.values()) for reasons in self.rejected.values())

    def as_json(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        return {
            "hours": self.hours,
            "utterances": self.utterances,
            "rejected_rows": self.num_rejected,
            "prepared": [asdict(each) for each in self.prepared],
            "rejected": {name: dict(reasons) for name, reasons in self.rejected.items()},
            "overlaps": asdict(self.overlaps),
            "tokenizer_digest": self.tokenizer_digest,
            "inputs_digest": self.inputs_digest,
            "exit_code": self.exit_code,
        }

    def write(self, folder: Path) -> None:
        """Write `summary.json` into `folder`."""
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False)
        (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def rejected_by_reason(tallies: Sequence[Tally]) -> dict[str, dict[str, int]]:
    """Return the counts of the tallies that rejected anything, most frequent reason first."""
    return {
        each.name: {
            reason.value: count for reason, count in sorted(each.reasons.items(), key=lambda item: -item[1])
        }
        for each in tallies
        if each.reasons
    }


def find_finished(out: Path, *, inputs_digest: str) -> PrepareSummary | None:
    """Return the summary of a successful preparation of the same inputs in `out`, if there is one."""
    try:
        stored = read_summary(out)
        if stored["inputs_digest"] != inputs_digest or stored["exit_code"] != 0:
            return None
        if not (out / CATALOG).is_file():
            return None
        return PrepareSummary(
            out=out,
            prepared=tuple(Prepared(**each) for each in stored["prepared"]),
            rejected=stored["rejected"],
            overlaps=_overlaps(stored["overlaps"]),
            tokenizer_digest=stored["tokenizer_digest"],
            inputs_digest=inputs_digest,
            exit_code=0,
            reused=True,
        )
    except (KeyError, TypeError):
        return None  # absent or of another version: prepared anew


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the content of `summary.json`; empty if it is absent or damaged."""
    try:
        stored = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _overlaps(stored: Mapping[str, Any]) -> Overlaps:
    texts = tuple(RepeatedText(**each) for each in stored["most_repeated"])
    return Overlaps(**(dict(stored) | {"most_repeated": texts}))


def digest_of_inputs(settings: PrepareSettings, *, files: Sequence[CorpusFile], tokenizer: Tokenizer) -> str:
    """Return a sha256 that changes when the same call could give another result.

    Manifests count with size and modification time or version. Audio files are not looked at: asking a file
    system for millions of them takes longer than many a preparation. Who replaces audio and leaves the
    manifest as it is prepares anew with `reuse: false`.

    Raises:
        DataError: a held-out folder has no fingerprints.
    """
    inputs = {
        "layout": _LAYOUT_VERSION,
        "settings": settings.model_dump(
            mode="json", exclude={"out", "tokenizer", "reuse", "data", "decode_labels"}
        ),
        "held_out": digest_of_held_out(settings.held_out),
        "tokenizer": tokenizer.digest,
        "files": [(file.path, *storage.marker(file.path)) for file in files],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
