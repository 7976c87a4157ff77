"""Is one model better than another, locale by locale, on the same utterances?

A FLEURS-sized test set (some 350-1,000 utterances) gives intervals about half a point wide on either
side, so two of them side by side hide most real gains. Comparing the models utterance by utterance
cancels what makes an utterance hard for both, and resolves much smaller differences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asr_ray.errors import DataError
from asr_ray.evaluate.scoring.bootstrap import (
    Interval,
    Resampled,
    interval95,
    resampled_rates,
    speaker_groups,
    two_sided_p,
)
from asr_ray.evaluate.scoring.counts import Counts, Hypothesis, count_pair, rows_by_id, rows_by_locale
from asr_ray.evaluate.scoring.normalise import NORMALISER_VERSION
from asr_ray.evaluate.scoring.score import EvalReport
from asr_ray.evaluate.scoring.tags import TagScore, score_tags
from asr_ray.locales import Unit, unit_of

Verdict = Literal["better", "worse", "no difference"]
"""What a paired comparison concludes about the second system."""

PAIRED_REPLICATIONS = 10_000
"""Bootstrap samples of a paired test: p-values of 0.001 need more of them than intervals do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedResult:
    """Two systems on the same utterances of one locale.

    Attributes:
        delta: rate of the candidate minus rate of the baseline; negative is better.
        ci95: bootstrap interval of the delta.
        p_value: two-sided bootstrap p-value of "no difference".
        verdict: about the candidate; "no difference" when the interval holds 0.
        resampled: what the interval was drawn over.
    """

    locale: str
    unit: Unit
    baseline: str
    candidate: str
    delta: float
    ci95: Interval
    p_value: float
    verdict: Verdict
    resampled: Resampled

    def to_json(self) -> dict[str, Any]:
        """Return one element of `paired` in `metrics.json`."""
        return dataclasses.asdict(self) | {"ci95": list(self.ci95)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptComparison:
    """What it costs to let the model find out the language.

    Attributes:
        by_locale: errors with the prompt `auto` against those with the locale as prompt; a positive delta
            is the cost.
        tags: languages the model named under `auto`; None when tags were stripped.
    """

    by_locale: tuple[PairedResult, ...]
    tags: TagScore | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return {
            "by_locale": [result.to_json() for result in self.by_locale],
            "tags": self.tags and self.tags.to_json(),
        }


def compare(
    baseline_rows: Sequence[Hypothesis],
    candidate_rows: Sequence[Hypothesis],
    *,
    baseline: str = "base",
    candidate: str = "tuned",
    seed: int = 0,
) -> tuple[PairedResult, ...]:
    """Compare two models per locale on the same utterances (paired bootstrap, normalised view).

    Args:
        baseline, candidate: names of the models in the result.

    Raises:
        DataError: an id stands twice or only on one side, or one id has two references or locales.
    """
    partners = _paired(baseline_rows, candidate_rows)
    results = []
    for locale, rows in sorted(rows_by_locale(baseline_rows).items()):
        unit = unit_of(locale)
        before = [count_pair(row, unit=unit) for row in rows]
        after = [count_pair(partners[row.id], unit=unit) for row in rows]
        groups = speaker_groups(
            [row.speaker for row, counts in zip(rows, before, strict=True) if counts.tokens]
        )
        delta, ci95, p_value = _delta(before, after, seed=seed, groups=groups)
        results.append(
            PairedResult(
                locale=locale,
                unit=unit,
                baseline=baseline,
                candidate=candidate,
                delta=delta,
                ci95=ci95,
                p_value=p_value,
                verdict="better" if ci95[1] < 0 else "worse" if ci95[0] > 0 else "no difference",
                resampled="speaker" if groups else "utterance",
            )
        )
    return tuple(results)


def compare_prompts(
    forced_rows: Sequence[Hypothesis], auto_rows: Sequence[Hypothesis], *, seed: int = 0
) -> PromptComparison:
    """Compare one model with the locale as prompt and with `auto`, on the same utterances.

    Raises:
        DataError: see `compare`.
    """
    return PromptComparison(
        by_locale=compare(forced_rows, auto_rows, baseline="locale", candidate="auto", seed=seed),
        tags=score_tags((row.locale, row.hyp) for row in auto_rows),
    )


def metrics_document(
    reports: Mapping[str, EvalReport],
    *,
    paired: Sequence[PairedResult] = (),
    context: tuple[int, int],
    mode: Literal["offline", "streaming"],
    prompt: Literal["locale", "auto"],
) -> dict[str, Any]:
    """Return the content of `metrics.json`; its shape is a contract with other programs.

    Args:
        reports: by name of the model.
        context: att_context_size used for decoding, in encoder frames left and right.
        mode: how the audio was fed.
        prompt: whether the model was told the locale.
    """
    return {
        "models": {name: report.to_json() for name, report in reports.items()},
        "paired": [result.to_json() for result in paired],
        "normaliser": NORMALISER_VERSION,
        "context": list(context),
        "mode": mode,
        "prompt": prompt,
    }


def _delta(
    before: Sequence[Counts], after: Sequence[Counts], *, seed: int, groups: Sequence[str] | None
) -> tuple[float, Interval, float]:
    """Return the difference of the rates, its interval and its p-value."""
    spoken = [(first, second) for first, second in zip(before, after, strict=True) if first.tokens]
    if not spoken:
        raise DataError(
            "a locale has no reference with anything to score after normalising",
            fix="score each model first: the message then names the locale",
        )
    changes = [second.errors - first.errors for first, second in spoken]
    lengths = [first.tokens for first, _ in spoken]
    samples = resampled_rates(changes, lengths, replications=PAIRED_REPLICATIONS, seed=seed, groups=groups)
    return sum(changes) / sum(lengths), interval95(samples), two_sided_p(samples)


def _paired(
    baseline_rows: Sequence[Hypothesis], candidate_rows: Sequence[Hypothesis]
) -> dict[str, Hypothesis]:
    """Return the candidate's rows by id, once both sides are known to hold the same utterances."""
    first, second = rows_by_id(baseline_rows), rows_by_id(candidate_rows)
    lonely = sorted(first.keys() ^ second.keys())
    if lonely:
        raise DataError(
            f"{len(lonely)} utterances were decoded by only one of two models, among them {lonely[0]!r}",
            fix="decode the same test set with both models",
        )
    for row in baseline_rows:
        other = second[row.id]
        if (row.ref, row.locale) != (other.ref, other.locale):
            raise DataError(
                f"utterance {row.id!r} has another reference or locale in the second set of hypotheses",
                fix="decode the same version of the test set with both models",
            )
    return second
