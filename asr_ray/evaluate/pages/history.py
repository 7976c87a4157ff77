"""The training run behind a model, as far as its folder tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from asr_ray.evaluate.pages.plots import Curve
from asr_ray.metrics import by_locale, metrics_path, read

_SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """Curves and consumption of a run; empty where there is none, or where it failed.

    Attributes:
        losses: (step, loss).
        validation: locale -> (step, error rate).
        planned_by_source, consumed_by_source: `locale/source` -> seconds of audio.
        in_words: length of the run in one sentence.
    """

    losses: Curve = ()
    validation: Mapping[str, Curve] = field(default_factory=dict)
    planned_by_source: Mapping[str, float] = field(default_factory=dict)
    consumed_by_source: Mapping[str, float] = field(default_factory=dict)
    in_words: str = ""

    @classmethod
    def read(cls, run_dir: Path | None) -> Self:
        """Read the folder of a run; None has no history."""
        if run_dir is None:
            return cls()
        rows = list(read(metrics_path(run_dir)))
        validations = [row for row in rows if row["kind"] == "validation"]
        summary = _summary(run_dir)
        return cls(
            losses=tuple((row["step"], row["loss"]) for row in rows if row.get("loss") is not None),
            validation=_by_locale_of(validations),
            planned_by_source=summary.get("planned_s", {}),
            consumed_by_source=summary.get("consumed_s", {}),
            in_words=_in_words(summary),
        )

    @property
    def planned_s(self) -> dict[str, float]:
        """Seconds that were planned of each locale."""
        return by_locale(self.planned_by_source)

    @property
    def consumed_s(self) -> dict[str, float]:
        """Seconds that were consumed of each locale."""
        return by_locale(self.consumed_by_source)

    @property
    def hours_by_source(self) -> dict[str, float]:
        """Hours of audio consumed, passes included, by `locale/source`."""
        return {key: seconds / 3600 for key, seconds in self.consumed_by_source.items()}


def _summary(run_dir: Path) -> dict[str, Any]:
    path = run_dir / _SUMMARY
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _by_locale_of(validations: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    return {
        tag: [(row["step"], row["locales"][tag]["rate"]) for row in validations]
        for tag in (validations[0]["locales"] if validations else ())
    }


def _in_words(summary: Mapping[str, Any]) -> str:
    # A run that failed leaves its error there and nothing else.
    if "consumed_s" not in summary:
        return ""
    hours, minutes = sum(summary["consumed_s"].values()) / 3600, summary["elapsed_s"] / 60
    return (
        f"{summary['steps']:,} steps, best at {summary['best_step']:,}, "
        f"{hours:.1f} hours of audio in {minutes:.1f} minutes"
    )
