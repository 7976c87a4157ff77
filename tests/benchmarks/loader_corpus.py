"""The corpus of the loader benchmark: voiced sounds of 1 to 20 s in five languages, in the peers' formats."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_ray.records import SAMPLE_RATE
from asr_ray.settings import CorpusSettings, PrepareSettings
from asr_ray.testing.corpora import Clip, write_nemo_tarred, write_shar
from asr_ray.testing.fakes import FakeTokenizer

LANGUAGES = ("en-US", "de-DE", "fr-FR", "es-ES", "it-IT")
"""Each with half the utterances of the one before."""

_SHARD = 250
_HARMONICS = 10


def clips(language: str, *, count: int) -> Iterator[Clip]:
    """Yield utterances of log-normal length (median 6 s) and some characters a second, by language."""
    index_of_language = LANGUAGES.index(language)
    rng = np.random.default_rng([7, index_of_language])
    for index in range(count):
        duration_s = float(np.clip(rng.lognormal(1.8, 0.6), 1.0, 20.0))
        num_words = max(1, round(duration_s * (3 + index_of_language) / 3))
        yield Clip(
            name=f"{language}-{index:06d}",
            samples=voiced(duration_s, rng=rng),
            text=" ".join(["la"] * num_words),
            speaker=f"s{index % 50}",
            locale=language,
        )


def voiced(duration_s: float, *, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """A gliding tone with overtones in syllables, and some noise: int16 [N] that FLAC packs like speech."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    pitch_hz = rng.uniform(100, 220) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, _HARMONICS + 1))
    syllables = np.maximum(np.sin(2 * np.pi * rng.uniform(3, 5) * time_s) + 0.3, 0)
    noise = rng.standard_normal(len(time_s))
    return np.round(3000 * syllables * (tone + 0.3 * noise) + 100 * noise).astype(np.int16)


def write(folder: Path, *, utterances: int) -> None:
    """Write the corpus as NeMo tars, as Shar, and prepared for this package."""
    corpora = []
    for index, language in enumerate(LANGUAGES):
        spoken = list(clips(language, count=max(utterances // 2 ** (index + 1), 20)))
        num_shards = -(-len(spoken) // _SHARD)
        corpora.append(write_nemo_tarred(folder / "tars" / language, spoken, num_shards=num_shards))
        write_shar(folder / "shar" / language, spoken, shard_size=_SHARD)
    _prepare(PrepareSettings(corpora=corpora, out=folder / "prepared"))


def prepare_tars(folder: Path, *, languages: Sequence[str]) -> None:
    """Prepare FOLDER/<language>/{manifest_<k>.json,audio_<k>.tar} into FOLDER/prepared."""
    corpora = [
        CorpusSettings(
            path=str(folder / tag / "manifest_*.json"),
            tars=str(folder / tag / "audio_*.tar"),
            source="bench",
            format="nemo_tarred",
        )
        for tag in languages
    ]
    _prepare(PrepareSettings(corpora=corpora, out=folder / "prepared"))


def _prepare(settings: PrepareSettings) -> None:
    import ray

    from asr_ray.data.shards import prepare

    ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    prepare(settings, tokenizer=FakeTokenizer())
    ray.shutdown()
