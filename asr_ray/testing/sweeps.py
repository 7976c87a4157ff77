"""Made-up sweeps: trials that answer to their mix by a known law, with noise by seed. No model, no audio.

What a sweep concludes can then be compared with what is true, and in milliseconds.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_ray.evaluate.objective import GuardPolicy, judge
from asr_ray.metrics import by_locale
from asr_ray.sweep.deciding.counts import Counts, counts_of, rates_of
from asr_ray.sweep.records import Rung, TrialRecord

Floats = npt.NDArray[np.float64]

_TOKENS = 9
_COUPLED = 0.7
"""Share of the tokens that are right or wrong by the same draw for all models: what makes pairing pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """How the error rate of one locale answers.

        tuned: floor + (base - floor) (1 + s / start_s) ** -exponent, s its own seconds of audio
        kept:  base (1 + forgetting (total seconds / 3600) ** 0.5 exp(-share / enough))

    Attributes:
        forgetting: 0 for a locale that is tuned.
        transfer: other locale -> exponent of its seconds, on top of all.
    """

    base: float
    floor: float = 0.02
    exponent: float = 0.3
    start_s: float = 60.0
    forgetting: float = 0.0
    enough: float = 0.15
    transfer: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The truth about a made-up sweep.

    Attributes:
        best_lr: learning rate at which all learn most; `width` in factors of ten.
        noise: standard deviation of log rates between seeds.
    """

    laws: Mapping[str, Law]
    best_lr: float = 1e-3
    width: float = 1.0
    noise: float = 0.02

    def rates(self, seconds: Mapping[str, float], *, peak_lr: float | None = None) -> dict[str, float]:
        """Return locale -> error rate without noise."""
        total = math.fsum(seconds.values())
        off = 0.0 if peak_lr is None else (math.log10(peak_lr / self.best_lr) / self.width) ** 2
        found = {}
        for locale, law in self.laws.items():
            own = seconds.get(locale, 0.0)
            if law.forgetting:
                share = own / total if total else 1.0
                grown = law.forgetting * math.sqrt(total / 3600) * math.exp(-share / law.enough)
                rate = law.base * (1 + grown)
            else:
                rate = law.floor + (law.base - law.floor) * (1 + own / law.start_s) ** -law.exponent
                rate *= math.exp(0.3 * off * (total > 0))
            moved = math.fsum(
                exponent * math.log1p(seconds.get(other, 0.0) / law.start_s)
                for other, exponent in law.transfer.items()
            )
            found[locale] = min(rate * math.exp(-moved), 0.95)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """A made-up test set, the same for all models.

    Attributes:
        utterances: per locale.
    """

    utterances: int = 120
    seed: int = 7

    def counts(self, rates: Mapping[str, float], *, name: str) -> Counts:
        """Return errors per utterance of a model with these rates; equal names make equal errors."""
        return counts_of(self.rows(rates, name=name))

    def rows(self, rates: Mapping[str, float], *, name: str) -> list[dict[str, Any]]:
        """Return lines as a validation leaves them."""
        found: list[dict[str, Any]] = []
        for locale, rate in rates.items():
            shared = _generator(self.seed, locale)
            own = _generator(self.seed, locale, name)
            shape = (self.utterances, _TOKENS)
            hard = shared.gamma(4.0, 0.25, (self.utterances, 1))
            same, fresh = shared.random(shape), own.random(shape)
            draws = np.where(shared.random(shape) < _COUPLED, same, fresh)
            wrong = draws < np.minimum(rate * hard, 1.0)
            found += [
                {
                    "id": f"{locale}-{index:04d}",
                    "locale": locale,
                    "speaker": "",
                    "errors": int(n),
                    "tokens": 9,
                }
                for index, n in enumerate(wrong.sum(axis=1).tolist())
            ]
        return found


def run_trial(
    record: TrialRecord,
    *,
    surface: Surface,
    speech: Speech,
    policy: GuardPolicy,
    total_s: float,
    folder: Path,
    rungs: Sequence[float] = (1 / 3, 2 / 3, 1.0),
) -> TrialRecord:
    """Return a planned trial as if it had been trained; its counts are left in `folder`.

    Args:
        total_s: seconds of audio in the weights at the end; `rungs` are parts of it that are validated.
    """
    shares = by_locale(record.mix)
    peak_lr = record.values.get("optim.peak_lr")
    generator = _generator(record.seed, record.repeats or record.name)
    noise = {tag: math.exp(generator.normal(0.0, surface.noise)) for tag in surface.laws}
    base = rates_of(base_counts(surface, speech=speech))
    found: list[Rung] = []
    path = folder / f"{record.name}.jsonl"
    for index, part in enumerate(rungs):
        seconds = {tag: share * total_s * part for tag, share in shares.items()}
        true = surface.rates(seconds, peak_lr=peak_lr)
        rows = speech.rows(
            {tag: rate * noise[tag] for tag, rate in true.items()}, name=f"{record.name}{index}"
        )
        rates = rates_of(counts_of(rows))
        verdict = judge(rates, base=base, policy=policy)
        found.append(
            Rung(
                step=100 * (index + 1),
                audio_s=total_s * part,
                rates=rates,
                objective=verdict.objective,
                excess=verdict.excess,
                broken=verdict.broken,
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return replace(
        record,
        status="finished",
        rungs=tuple(found),
        consumed_s={name: share * total_s for name, share in record.mix.items()},
        elapsed_s=total_s / 40,
        counts=str(path),
        attempts=1,
    )


def base_counts(surface: Surface, *, speech: Speech) -> Counts:
    """Return the errors of the untuned model."""
    return speech.counts(surface.rates({}), name="base")


def _generator(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
