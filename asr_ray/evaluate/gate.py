"""May this model replace that one? One limit for each locale, and the proof that a loss is no chance. Pure.

A locale fails when its rate rose by more than its limit *and* the 95% interval of the rise leaves out 0. The
limit says what matters, the interval what is known: a large loss on a handful of utterances is not yet one,
and a certain loss of a tenth of a point is none that anybody hears. 40 locales give the interval 40 chances
to be wrong (each takes a loss for real that is none in one case of 40); a limit above 0 leaves few of them.

Interval of the rise, the best there is to have:

    paired       both models' hypotheses are there: bootstrap over the same utterances (`paired`)
    intervals    only the rates and their intervals are: MOVER (Zou and Donner, "Construction of confidence
                 limits about effect measures", Statistics in Medicine 27, 2008), which takes them for
                 independent and so sees only large losses
    mean         of a mean over locales: MOVER over theirs, which are independent
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asr_ray.errors import RegressionError
from asr_ray.evaluate.scoring.bootstrap import Interval
from asr_ray.evaluate.scoring.paired import PairedResult
from asr_ray.evaluate.scoring.score import EvalReport
from asr_ray.locales import Unit
from asr_ray.settings.evaluate import CompareSettings

Evidence = Literal["paired", "intervals", "mean"]
"""What the interval of a change was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one rate.

    Attributes:
        what: a locale, or `mean wer`, `mean cer`.
        delta: `after` minus `before`; ci95 is its interval.
        limit: largest rise allowed; a fraction, as all rates here.
    """

    what: str
    unit: Unit
    before: float
    after: float
    ci95: Interval
    limit: float
    evidence: Evidence

    @property
    def delta(self) -> float:
        """How much the rate rose; negative is better."""
        return self.after - self.before

    @property
    def passed(self) -> bool:
        """Whether the rise is within the limit, or may be chance."""
        return self.delta <= self.limit or self.ci95[0] <= 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return dataclasses.asdict(self) | {
            "ci95": list(self.ci95),
            "delta": self.delta,
            "passed": self.passed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A model judged by an earlier evaluation.

    Attributes:
        baseline: name of the earlier model.
        candidate: name of the model that is judged.
        findings: locales, then means.
        new: locales that the baseline does not know; nothing is said about them.
    """

    baseline: str
    candidate: str
    findings: Sequence[Finding]
    new: Sequence[str] = ()

    @property
    def failed(self) -> list[Finding]:
        """What rose beyond its limit, the worst first."""
        return sorted((each for each in self.findings if not each.passed), key=lambda each: -each.delta)

    def to_json(self) -> dict[str, Any]:
        """Return the value of `gate` in `metrics.json`."""
        return {
            "baseline": self.baseline,
            "candidate": self.candidate,
            "passed": not self.failed,
            "failed": [each.what for each in self.failed],
            "new": list(self.new),
            "findings": [each.to_json() for each in self.findings],
        }


def findings_of_pairs(
    results: Sequence[PairedResult], *, report: EvalReport, compare: CompareSettings
) -> list[Finding]:
    """Judge each locale by the paired test on its utterances."""
    rates = {result.locale: report.locales[result.locale].rate for result in results}
    return [
        Finding(
            what=result.locale,
            unit=result.unit,
            before=rates[result.locale] - result.delta,
            after=rates[result.locale],
            ci95=result.ci95,
            limit=_limit(result.locale, compare),
            evidence="paired",
        )
        for result in results
    ]


def findings_of_intervals(
    before: Mapping[str, tuple[float, Interval]], *, report: EvalReport, compare: CompareSettings
) -> list[Finding]:
    """Judge each locale by the intervals of both rates.

    Args:
        before: locale -> rate of the baseline and its interval.
    """
    return [
        Finding(
            what=locale,
            unit=report.locales[locale].unit,
            before=rate,
            after=report.locales[locale].rate,
            ci95=_of_difference((rate, interval), (report.locales[locale].rate, report.locales[locale].ci95)),
            limit=_limit(locale, compare),
            evidence="intervals",
        )
        for locale, (rate, interval) in before.items()
    ]


def findings_of_means(findings: Sequence[Finding], *, compare: CompareSettings) -> list[Finding]:
    """Judge the mean over the locales of each unit that has a limit."""
    means = []
    for unit, limit in compare.max_macro_loss_points.items():
        alike = [each for each in findings if each.unit == unit]
        if not alike:
            continue
        before, after = (math.fsum(rates) / len(alike) for rates in _rates(alike))
        low, high = (math.hypot(*sides) / len(alike) for sides in _sides(alike))
        means.append(
            Finding(
                what=f"mean {unit}",
                unit=unit,
                before=before,
                after=after,
                ci95=(after - before - low, after - before + high),
                limit=limit / 100,
                evidence="mean",
            )
        )
    return means


def regression_error(gates: Mapping[str, Gate | None]) -> RegressionError | None:
    """Return the error that names everything that failed; None where nothing did.

    Args:
        gates: condition in words -> its gate.
    """
    lines = [
        f"{each.what}: {100 * each.before:.2f}% -> {100 * each.after:.2f}%, +{100 * each.delta:.2f} points "
        f"(95% CI {100 * each.ci95[0]:+.2f} to {100 * each.ci95[1]:+.2f}; limit {100 * each.limit:g}), "
        f"{where}"
        for where, gate in gates.items()
        for each in (gate.failed if gate else ())
    ]
    if not lines:
        return None
    return RegressionError(
        f"{len(lines)} beyond the limit:\n  " + "\n  ".join(lines),
        fix="see in the report what became worse; if that is wanted, set compare.max_loss_points_by_locale",
    )


def _limit(locale: str, compare: CompareSettings) -> float:
    return compare.max_loss_points_by_locale.get(locale, compare.max_loss_points) / 100


def _of_difference(before: tuple[float, Interval], after: tuple[float, Interval]) -> Interval:
    (first, (first_low, first_high)), (second, (second_low, second_high)) = before, after
    delta = second - first
    return (
        delta - math.hypot(second - second_low, first_high - first),
        delta + math.hypot(second_high - second, first - first_low),
    )


def _rates(findings: Sequence[Finding]) -> tuple[list[float], list[float]]:
    return [each.before for each in findings], [each.after for each in findings]


def _sides(findings: Sequence[Finding]) -> tuple[list[float], list[float]]:
    """Return how far the intervals reach below and above each change."""
    return (
        [each.delta - each.ci95[0] for each in findings],
        [each.ci95[1] - each.delta for each in findings],
    )
