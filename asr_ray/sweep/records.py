"""What is known of each trial, and `OUT/trials.jsonl`, the truth about a sweep.

One line per change of a trial; the last line of a name wins. Lines are only ever added, and a line that a
kill cut off is left out when the file is read, so that the trial it spoke of stands where it stood before.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asr_ray.errors import ConfigError

log = logging.getLogger(__name__)

Stage = Literal["baseline", "search", "proxy", "check", "seed"]
"""Why a trial was run: to be beaten, by the search, as a designed proxy, to check what proxies predict, or
to repeat another trial with another seed."""

Status = Literal["planned", "running", "finished", "stopped", "failed", "infeasible"]
"""`stopped` was ended early by the scheduler; `infeasible` has values that no run can have on this data.
Whether a finished trial breaks a guard is no status but a verdict, see `decision`."""

DONE: frozenset[Status] = frozenset({"finished", "stopped", "failed", "infeasible"})
"""What is not run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One validation of tuned weights.

    Attributes:
        step: optimizer updates in the weights.
        audio_s: seconds of audio in the weights.
        rates: locale -> error rate as a fraction.
        objective, excess, broken: as in `evaluate.objective.Judgement`.
    """

    step: int
    audio_s: float
    rates: Mapping[str, float]
    objective: float
    excess: float
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial as it stands.

    Attributes:
        name: unique in the sweep; a file name.
        values: dotted key -> value, as `Sweep.settings_of` takes them.
        mix: "locale/source" -> planned share of seconds, over the whole run.
        reason: why it was stopped, failed or is infeasible; "" else.
        rungs: its validations, oldest first, the untuned base not among them.
        consumed_s: "locale/source" -> seconds of audio in the weights.
        elapsed_s: seconds of training, restarts not counted.
        run_dir: its folder, as `TrainSettings.run_dir`.
        counts: path of the last validation's errors per utterance (see `counts`); "" before the first.
        test_rates: locale -> error rate of its best weights on the test set; empty where not scored.
        test_counts: path of the errors per utterance behind them.
        repeats: name of the trial that this one repeats with another seed; "" for others.
        attempts: how often it was started.
    """

    name: str
    stage: Stage
    values: Mapping[str, Any]
    mix: Mapping[str, float]
    seed: int
    status: Status = "planned"
    reason: str = ""
    rungs: tuple[Rung, ...] = ()
    consumed_s: Mapping[str, float] = field(default_factory=dict)
    elapsed_s: float = 0.0
    run_dir: str = ""
    counts: str = ""
    test_rates: Mapping[str, float] = field(default_factory=dict)
    test_counts: str = ""
    repeats: str = ""
    attempts: int = 0

    @property
    def last(self) -> Rung | None:
        """The newest validation."""
        return self.rungs[-1] if self.rungs else None

    @property
    def audio_s(self) -> float:
        """Seconds of audio in the weights, over all sources."""
        return sum(self.consumed_s.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> TrialRecord:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: fields that this version does not know, or misses.
        """
        try:
            rungs = tuple(
                Rung(**{**rung, "broken": tuple(rung.get("broken", ()))}) for rung in tree.get("rungs", ())
            )
            return cls(**{**tree, "rungs": rungs})
        except TypeError as error:
            raise ConfigError(
                f"the record of trial {tree.get('name')!r} was written by another version: {error}",
                fix="go on with the version that began the sweep, or choose another sweep.out",
            ) from None


def trials_path(out: Path) -> Path:
    """Where the records of a sweep are."""
    return out / "trials.jsonl"


def winner_path(decision: Path) -> Path:
    """Where the configuration of the run that a sweep decided for is, beside its `decision.json`."""
    return decision.with_name("winner.yaml")


def append_record(path: Path, record: TrialRecord) -> None:
    """Add a line, synced to the disk; one that a kill cut off before it is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record.to_json(), ensure_ascii=False).encode("utf-8") + b"\n"
    with path.open("ab+") as stream:
        if stream.tell() > 0:
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else b"\n" + line
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def read_records(path: Path) -> dict[str, TrialRecord]:
    """Return the trials of a sweep by name, in the order of their first lines; {} before the first.

    Raises:
        ConfigError: a line of another version.
    """
    if not path.exists():
        return {}
    # By "\n" alone: JSON may hold other line separators as they are.
    lines = path.read_bytes().split(b"\n")
    return latest(tree for line in lines if line and (tree := _parsed(line, path)) is not None)


def latest(trees: Iterable[Mapping[str, Any]]) -> dict[str, TrialRecord]:
    """Return the last state of each trial, in the order of first mention."""
    found: dict[str, TrialRecord] = {}
    for tree in trees:
        record = TrialRecord.from_json(tree)
        found[record.name] = record
    return found


def _parsed(line: bytes, path: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads(line)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        log.warning("%s: a line that was cut off is left out", path)
        return None
    return tree
