"""Hypotheses on disk: raw, one JSON object per line, with a seal that says what decoded them.

    OUT/<model>/results.jsonl     id, locale, ref, hyp, duration_s
    OUT/<model>/decoding.json     what the hypotheses follow from, and its digest

Decoding costs minutes to hours and scoring seconds, so hypotheses are reused as long as nothing that
decides them has changed: the weights, the utterances, the context, the mode, the prompt, the device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from asr_ray.evaluate.score import Hypothesis
from asr_ray.settings import EvaluateSettings

RESULTS = "results.jsonl"
SEAL = "decoding.json"

_VERSION = 1
"""Raised when the decoder would write other text from the same inputs."""


def decoding(settings: EvaluateSettings, *, model_sha256: str, catalog_digest: str) -> dict[str, object]:
    """Return everything that decides the hypotheses of one model, ready for JSON."""
    return {
        "version": _VERSION,
        "model_sha256": model_sha256,
        "catalog_digest": catalog_digest,
        "locales": settings.locales,
        "utterances_per_locale": settings.utterances_per_locale,
        "att_context_size": list(settings.att_context_size),
        "mode": settings.mode,
        "prompt": settings.prompt,
        "device": "gpu" if settings.use_gpu else "cpu",
    }


def write_results(folder: Path, rows: Sequence[Hypothesis], *, decoded: Mapping[str, object]) -> None:
    """Write the hypotheses of one model, sealed with what decoded them (see `decoding`)."""
    folder.mkdir(parents=True, exist_ok=True)
    # Unsealed while they are being replaced: a stopped write is never taken for a finished one.
    (folder / SEAL).unlink(missing_ok=True)
    lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    (folder / RESULTS).write_text(lines, encoding="utf-8")
    seal = {**decoded, "results_sha256": _sha256(folder / RESULTS)}
    (folder / SEAL).write_text(json.dumps(seal, indent=1) + "\n", encoding="utf-8")


def find_results(folder: Path, *, decoded: Mapping[str, object]) -> list[Hypothesis] | None:
    """Return the hypotheses in `folder` if they were decoded so and are whole, else None."""
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        if seal.pop("results_sha256") != _sha256(folder / RESULTS) or seal != decoded:
            return None
        # Not `splitlines`: transcripts may hold line separators of Unicode.
        with (folder / RESULTS).open(encoding="utf-8", newline="\n") as lines:
            return [Hypothesis(**json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent, cut short or of another version: decoded again


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
