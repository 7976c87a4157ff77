"""What a decision is made of: candidates with their intervals, comparisons, fidelity of the rungs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from asr_ray.evaluate.scoring.bootstrap import Interval
from asr_ray.sweep.deciding.counts import Counts
from asr_ray.sweep.records import Stage

Judged = Literal["test", "validation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What all trials are compared with.

    Attributes:
        base: locale -> error rate of the untuned model on the validation set; `test_base` on the test set.
        counts: name of a trial -> errors per utterance of its last validation; `test_counts` likewise.
        base_counts, test_base_counts: of the untuned model; None where there are none, and no intervals.
    """

    base: Mapping[str, float]
    counts: Mapping[str, Counts] = field(default_factory=dict)
    base_counts: Counts | None = None
    test_base: Mapping[str, float] = field(default_factory=dict)
    test_counts: Mapping[str, Counts] = field(default_factory=dict)
    test_base_counts: Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One set of values, with all its seeds.

    Attributes:
        runs: names of its trials.
        mix: locale -> planned share of seconds.
        rates: locale -> error rate, mean over the seeds; on the set of `judged`.
        objective: mean over the seeds; `ci95` is its interval, None without counts.
        excess, broken: of the guards, as in `evaluate.objective.Judgement`.
        distance: total variation to the shares of the hours.
        behind: objective minus that of the leader, `behind_ci95` its paired interval.
        is_eligible: whether it may win, guards aside.
        is_tied: cannot be told from the leader, which is tied with itself.
    """

    name: str
    stage: Stage
    runs: tuple[str, ...]
    values: Mapping[str, Any]
    mix: Mapping[str, float]
    rates: Mapping[str, float]
    judged: Judged
    objective: float
    excess: float
    broken: tuple[str, ...]
    distance: float
    audio_s: float
    is_eligible: bool
    ci95: Interval | None = None
    behind: float | None = None
    behind_ci95: Interval | None = None
    is_tied: bool = False

    @property
    def is_feasible(self) -> bool:
        """Whether all guards hold."""
        return not self.broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The winner against a baseline: difference of objectives, negative is better."""

    baseline: str
    delta: float
    ci95: Interval | None
    p_value: float | None

    @property
    def verdict(self) -> str:
        """What the interval says of the winner."""
        if self.ci95 is None or self.ci95[0] <= 0 <= self.ci95[1]:
            return "no difference"
        return "better" if self.ci95[1] < 0 else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How well a rung ranks trials as their ends do: Spearman's correlation of the objectives."""

    step: int
    trials: int
    spearman: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What came of a sweep.

    Attributes:
        winner: name of a candidate.
        reason: in words.
        candidates: ranked: feasible ones first, by objective.
        seed_sd: standard deviation of the objective between seeds; None where nothing was repeated.
        settings: the winner's configuration, for `jobs/train.py --from-decision`; `command` is that command.
    """

    winner: str
    reason: str
    candidates: tuple[Candidate, ...]
    comparisons: tuple[Comparison, ...]
    fidelity: tuple[Fidelity, ...]
    judged: Judged
    seed_sd: float | None
    warnings: tuple[str, ...] = ()
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def winning(self) -> Candidate:
        """The candidate that won."""
        return next(each for each in self.candidates if each.name == self.winner)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `decision.json`."""
        return {"version": 1, **dataclasses.asdict(self)}
