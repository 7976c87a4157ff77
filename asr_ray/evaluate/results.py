"""Hypotheses on disk: raw, one JSON object per line, with a seal that says what decoded them.

    <model>/results.jsonl            id, locale, ref, hyp, duration_s, speaker, source, snr_db
    <model>/decoding.json            what the hypotheses follow from, their digest, and the time they took
    <model>/results.partial.jsonl    while decoding goes on: the same lines with the catalog row, under a
                                     first line that says what decodes them

Decoding costs minutes to hours and scoring seconds, so hypotheses are reused as long as nothing that
decides them has changed: the weights, the utterances, the context, the mode, the prompt, the precision, the
device. What a stopped evaluation leaves is gone on with under the same rule.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.settings import EvaluateSettings

RESULTS = "results.jsonl"
PARTIAL = "results.partial.jsonl"
SEAL = "decoding.json"

_VERSION = 3
"""Raised when the decoder would write other text from the same inputs, or a line would hold more."""

_BESIDE = ("results_sha256", "decode_s")
"""Keys of a seal that say nothing about what decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The hypotheses of one model under one condition.

    Attributes:
        decode_s: seconds that actors spent on them, added up, from encoded audio to text; reading and
            start-up are not in it.
    """

    rows: Sequence[Hypothesis]
    decode_s: float

    @property
    def audio_s(self) -> float:
        """Seconds of speech decoded."""
        return sum(row.duration_s for row in self.rows)

    @property
    def rtfx(self) -> float:
        """Seconds of audio per second of one actor: the inverse of the real-time factor."""
        return self.audio_s / self.decode_s if self.decode_s else 0.0


def decoding(
    settings: EvaluateSettings, *, condition: Condition, model_sha256: str, catalog_digest: str
) -> dict[str, object]:
    """Return everything that decides the hypotheses of one model, ready for JSON."""
    return {
        "version": _VERSION,
        "model_sha256": model_sha256,
        "catalog_digest": catalog_digest,
        "locales": settings.locales,
        "utterances_per_locale": settings.utterances_per_locale,
        "att_context_size": list(condition.att_context_size),
        "mode": condition.mode,
        "prompt": condition.prompt,
        "tags": "keep" if condition.keep_tags else "strip",
        "precision": condition.precision,
        "device": "gpu" if settings.use_gpu else "cpu",
    }


def write_results(folder: Path, result: Decoded, *, decoded: Mapping[str, object]) -> None:
    """Write the hypotheses of one model, sealed with what decoded them (see `decoding`)."""
    folder.mkdir(parents=True, exist_ok=True)
    # Unsealed while they are being replaced: a stopped write is never taken for a finished one.
    (folder / SEAL).unlink(missing_ok=True)
    lines = "".join(_line(asdict(row)) for row in result.rows)
    (folder / RESULTS).write_text(lines, encoding="utf-8")
    seal = {**decoded, "results_sha256": _sha256(folder / RESULTS), "decode_s": result.decode_s}
    (folder / SEAL).write_text(json.dumps(seal, indent=1) + "\n", encoding="utf-8")
    (folder / PARTIAL).unlink(missing_ok=True)


def find_results(folder: Path, *, decoded: Mapping[str, object]) -> Decoded | None:
    """Return the hypotheses in `folder` if they were decoded so and are whole, else None."""
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        digest, decode_s = (seal.pop(key) for key in _BESIDE)
        if digest != _sha256(folder / RESULTS) or seal != decoded:
            return None
        rows = [Hypothesis(**line) for line in _lines(folder / RESULTS)]
        return Decoded(rows=rows, decode_s=float(decode_s))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent, cut short or of another version: decoded again


def read_hypotheses(folder: Path) -> list[Hypothesis] | None:
    """Return the hypotheses in `folder`, whatever decoded them; None if there are none in this form."""
    try:
        return [Hypothesis(**line) for line in _lines(folder / RESULTS)] or None
    except (OSError, ValueError, TypeError):
        return None


class PartialResults:
    """Hypotheses of one model while they come in; a later run finds those that were complete.

    Attributes:
        rows: catalog row -> hypothesis and its share of the seconds.
    """

    def __init__(self, folder: Path, *, decoded: Mapping[str, object]) -> None:
        """Take up what an earlier run of the same decoding left in `folder`, or begin anew."""
        self.folder, self.decoded = folder, dict(decoded)
        self.rows: dict[int, tuple[Hypothesis, float]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        lines = self._found()
        for line in lines:
            row, decode_s = line.pop("row"), line.pop("decode_s")
            self.rows.setdefault(row, (Hypothesis(**line), decode_s))
        # Written anew and not gone on with: a line that a kill cut short must not begin the next one.
        anew = folder / f".{PARTIAL}"
        anew.write_text(_line({"decoding": self.decoded}), encoding="utf-8")
        _append(anew, ((row, *found) for row, found in self.rows.items()))
        anew.replace(folder / PARTIAL)

    def add(self, rows: Iterable[tuple[int, Hypothesis, float]]) -> None:
        """Write down (row, hypothesis, its share of the seconds); rows that are known stay as they are."""
        fresh = {row: (hypothesis, decode_s) for row, hypothesis, decode_s in rows if row not in self.rows}
        self.rows |= fresh
        _append(self.folder / PARTIAL, ((row, *found) for row, found in fresh.items()))

    def finish(self) -> Decoded:
        """Seal what has come in and return it, by locale and id."""
        rows = sorted((hypothesis for hypothesis, _ in self.rows.values()), key=lambda h: (h.locale, h.id))
        result = Decoded(rows=rows, decode_s=sum(decode_s for _, decode_s in self.rows.values()))
        write_results(self.folder, result, decoded=self.decoded)
        return result

    def _found(self) -> list[dict[str, Any]]:
        try:
            begun, *lines = _lines(self.folder / PARTIAL)
        except (OSError, ValueError):
            return []
        return lines if begun == {"decoding": self.decoded} else []


def _append(path: Path, rows: Iterable[tuple[int, Hypothesis, float]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for row, hypothesis, decode_s in rows:
            file.write(_line({"row": row, "decode_s": decode_s} | asdict(hypothesis)))


def _line(values: Mapping[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file as objects; an unfinished last one is left out."""
    # As bytes: a kill may end a file inside a character, and transcripts may hold Unicode's line separators.
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
