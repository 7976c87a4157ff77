"""Errors and tokens per utterance, and what an objective is worth when the test set is drawn anew.

All trials are judged on the same utterances, so each bootstrap sample draws one set of utterances for all of
them (Bisani and Ney, ICASSP 2004): what makes an utterance hard for every model cancels in differences.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_ray.errors import DataError
from asr_ray.evaluate.objective import RATE_FLOOR
from asr_ray.evaluate.scoring.bootstrap import resampled_sums, speaker_groups

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleCounts:
    """One model on the utterances of one locale.

    Attributes:
        ids: sorted; the same for all models of a sweep.
        errors, tokens: int64 [N]; of the reference, at least one token each.
        speakers: "" where unknown.
    """

    ids: tuple[str, ...]
    errors: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    speakers: tuple[str, ...]


Counts = Mapping[str, LocaleCounts]
"""One model, by locale."""


def read_counts(path: Path) -> dict[str, LocaleCounts]:
    """Read lines of `{"id", "locale", "speaker", "errors", "tokens"}`, as a validation leaves them.

    Utterances whose reference has nothing to score are left out.

    Raises:
        DataError: the file is missing or holds something else.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return counts_of(rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read as errors per utterance: {error!r}", fix="validate this trial again"
        ) from error


def counts_of(rows: Sequence[Mapping[str, str | int]]) -> dict[str, LocaleCounts]:
    """Return the counts of some utterances by locale, in the order of their ids."""
    by_locale: dict[str, list[Mapping[str, str | int]]] = {}
    for row in sorted(rows, key=lambda row: str(row["id"])):
        if row["tokens"]:
            by_locale.setdefault(str(row["locale"]), []).append(row)
    return {
        locale: LocaleCounts(
            ids=tuple(str(row["id"]) for row in own),
            errors=np.array([row["errors"] for row in own], np.int64),
            tokens=np.array([row["tokens"] for row in own], np.int64),
            speakers=tuple(str(row.get("speaker") or "") for row in own),
        )
        for locale, own in sorted(by_locale.items())
    }


def resampled_objectives(
    models: Mapping[str, Counts],
    *,
    base: Counts,
    targets: Sequence[str],
    replications: int,
    seed: int,
) -> dict[str, Floats]:
    """Return [replications] objectives of each model, over test sets drawn anew and alike for all of them.

    Args:
        models: by name; the order does not matter.
        base: the untuned model, resampled along: its rates are estimates as well.

    Raises:
        DataError: models were scored on different utterances of a target.
    """
    names = sorted(models)
    total = {name: np.zeros(replications) for name in names}
    for locale in targets:
        own = _aligned(locale, {"": base, **{name: models[name] for name in names}})
        first = own[0]
        # One draw per locale for all models; a locale's draw does not depend on which others there are.
        sums = resampled_sums(
            np.column_stack([first.tokens, *(counts.errors for counts in own)]),
            replications=replications,
            seed=seed ^ zlib.crc32(locale.encode()),
            groups=speaker_groups(first.speakers),
        )
        logs = np.log(np.maximum(sums[:, 1:] / sums[:, :1], RATE_FLOOR))
        for index, name in enumerate(names, start=1):
            total[name] += (logs[:, index] - logs[:, 0]) / len(targets)
    return total


def rates_of(counts: Counts) -> dict[str, float]:
    """Return the error rate of each locale."""
    return {locale: float(own.errors.sum() / own.tokens.sum()) for locale, own in counts.items()}


def _aligned(locale: str, models: Mapping[str, Counts]) -> list[LocaleCounts]:
    own = []
    for name, counts in models.items():
        if locale not in counts:
            raise DataError(
                f"{name or 'the base'} has no counts of {locale}", fix="validate it on all targets"
            )
        own.append(counts[locale])
        if (own[-1].ids, own[-1].tokens.tolist()) != (own[0].ids, own[0].tokens.tolist()):
            raise DataError(
                f"{name} was scored on other utterances of {locale} than the base",
                fix="let all trials of a sweep validate on the same data and the same number of utterances",
            )
    return own
