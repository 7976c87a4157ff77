"""Corpora of noise: audio that costs nothing to make, for tests in which nobody listens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_ray.data.audio import encode_flac
from asr_ray.records import SAMPLE_RATE

_TEXTS = {
    "el-GR": "Καλημέρα, τι κάνεις;",
    "bg-BG": "Добро утро, как си?",
    "en-US": "Good morning, how are you?",
    "es-ES": "Buenos días, ¿qué tal?",
    "ja-JP": "おはようございます。",
}


def noise(duration_s: float, *, seed: int | Sequence[int] = 0) -> npt.NDArray[np.int16]:
    """Return white noise, int16 [N] at 16 kHz."""
    samples = np.random.default_rng(seed).standard_normal(round(duration_s * SAMPLE_RATE))
    return (samples * 2000).astype(np.int16)


def write_manifest(path: Path, rows: Iterable[Mapping[str, object] | bytes]) -> Path:
    """Write a NeMo manifest; rows given as bytes are written as they are, damaged or not."""
    lines = (row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def write_corpus(
    folder: Path, *, locale: str, count: int, seed: int = 0, seconds: tuple[float, float] = (0.5, 2.0)
) -> list[dict[str, object]]:
    """Write noise as FLAC into `folder` and return the rows of a manifest that stands there.

    Args:
        folder: made if it does not exist.
        locale: one with a sentence in this module.
        count: utterances.
        seed: of durations and noise.
        seconds: range of the durations, drawn uniformly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for index, duration_s in enumerate(np.random.default_rng(seed).uniform(*seconds, size=count)):
        samples = noise(duration_s, seed=(*locale.encode(), seed, index))
        name = f"{locale}-{seed}-{index:04d}.flac"
        (folder / name).write_bytes(encode_flac(samples))
        rows.append(
            {
                "audio_filepath": name,
                "duration": len(samples) / SAMPLE_RATE,
                "text": _TEXTS[locale],
                "target_lang": locale,
                "speaker": f"speaker-{index % 3}",
            }
        )
    return rows
