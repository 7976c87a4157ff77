"""The records of a sweep while it runs: one writer, and every change is on the disk before it counts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr_ray.errors import ConfigError
from asr_ray.settings import TrainSettings
from asr_ray.sweep.mixes import planned_mix
from asr_ray.sweep.records import Stage, TrialRecord, append_record, read_records, trials_path
from asr_ray.sweep.space import Sweep, Values
from asr_ray.train.setup import resolved

BASE_SCORES = "base.json"


class Book:
    """Trials by name. Written by the process of the sweep alone, from more than one of its threads."""

    def __init__(self, sweep: Sweep, *, seconds_by_key: Mapping[tuple[str, str], float]) -> None:
        self.sweep = sweep
        self.out = sweep.settings.out.resolve()
        self.seconds_by_key = seconds_by_key
        self._records = read_records(trials_path(self.out))
        self._lock = threading.RLock()

    @property
    def records(self) -> dict[str, TrialRecord]:
        """A copy of what is known."""
        with self._lock:
            return dict(self._records)

    def plan(
        self, name: str, values: Values, *, stage: Stage, seed: int | None = None, repeats: str = ""
    ) -> TrialRecord:
        """Write a new trial down, or return the one of that name; what no run can have is infeasible."""
        with self._lock:
            if name in self._records:
                return self._records[name]
            run_dir = self.out / "trials" / name
            record = TrialRecord(
                name=name,
                stage=stage,
                values=dict(values),
                mix={},
                seed=int(self.sweep.tree.get("seed", 1)) if seed is None else seed,
                run_dir=str(run_dir),
                repeats=repeats,
            )
            try:
                mix = planned_mix(resolved(self.settings_of(record)), self.seconds_by_key)
                return self._write(replace(record, mix=mix))
            except ConfigError as error:
                return self._write(replace(record, status="infeasible", reason=error.message))

    def update(self, name: str, **changes: Any) -> TrialRecord:
        """Change fields of a trial."""
        with self._lock:
            return self._write(replace(self._records[name], **changes))

    def settings_of(self, record: TrialRecord) -> TrainSettings:
        """Return the configuration of a trial, which takes the scores of the base from the sweep."""
        settings = self.sweep.settings_of(record.values, run_dir=Path(record.run_dir), seed=record.seed)
        shared = {"base_scores": self.out / BASE_SCORES}
        return settings.model_copy(update={"validation": settings.validation.model_copy(update=shared)})

    def _write(self, record: TrialRecord) -> TrialRecord:
        append_record(trials_path(self.out), record)
        self._records[record.name] = record
        return record
