"""Synthetic multilingual speech: sentences of small grammars, spoken by espeak-ng in many voices.

Not human speech, and no measure of quality on it: it exists so that tests, the demo and users
without a corpus have as much labelled speech as they like, in several languages, within seconds.

    write_corpus(folder, locales=["el-GR"], utterances={"train": 1500, "test": 100}, seed=1)

    FOLDER/README.txt                       what this is, for whoever finds the folder
    FOLDER/el-GR/train.jsonl                NeMo manifest, audio paths relative to FOLDER/el-GR
    FOLDER/el-GR/train/el-GR-train-00000.flac
    FOLDER/el-GR/train.seal.json            recipe and digest: what makes the split reusable

Everything random follows from (seed, locale, split, index): the same call writes the same bytes
with any number of workers, and a larger corpus begins with the smaller one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr_ray.errors import AsrRayError, ConfigError
from asr_ray.records import SAMPLE_RATE
from asr_ray.testing.espeak import ESPEAK_SAMPLE_RATE, Voice, espeak_version, pronounce
from asr_ray.testing.grammar import SPLITS, Split, draw_sentences, grammar_of, phrase_of, sentences
from asr_ray.testing.recording import Recording, draw_recording, record

log = logging.getLogger(__name__)

ESPEAK_LANGUAGE: Mapping[str, str] = {
    "en-US": "en-us",
    "es-ES": "es",
    "el-GR": "el",
    "bg-BG": "bg",
    "sl-SI": "sl",
    "mt-MT": "mt",
}
"""Locale -> the espeak-ng voice that speaks it; the same locales have a grammar."""

VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")
"""Voice variants drawn from. The whispering, croaking and robot ones of espeak-ng are left out."""

RECIPE_VERSION = 2
"""Raised whenever the same arguments would give other audio; older folders are then rebuilt."""

_PHRASE_PLACES = (1, 3)
"""Of five training utterances, these are phrases of a few words: from whole sentences alone, a small
model takes thousands of steps to find out which part of the audio a word belongs to."""

Utterances = Mapping[Split, int] | Mapping[str, Mapping[Split, int]]
"""Split -> number of utterances, for every locale; or locale -> split -> number."""
ManifestRow = dict[str, str | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCorpus:
    """A folder of synthetic speech.

    Attributes:
        folder: holds README.txt and one folder per locale.
        manifests: (locale, split) -> NeMo JSONL manifest.
        hours: locale -> hours of audio over its splits.
    """

    folder: Path
    manifests: Mapping[tuple[str, str], Path]
    hours: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """One manifest to be written."""

    folder: Path
    locale: str
    name: Split
    count: int
    seed: int

    @property
    def manifest(self) -> Path:
        return self.folder / self.locale / f"{self.name}.jsonl"

    @property
    def seal(self) -> Path:
        return self.folder / self.locale / f"{self.name}.seal.json"

    @property
    def audio_folder(self) -> Path:
        return self.folder / self.locale / self.name


def default_voice(locale: str) -> Voice:
    """The espeak-ng voice of `locale` at its own pitch and 160 words per minute."""
    grammar_of(locale)  # raises ConfigError with the locales that exist
    return Voice(language=ESPEAK_LANGUAGE[locale])


def synthesize(
    text: str,
    *,
    locale: str,
    voice: Voice | None = None,
    recording: Recording | None = None,
    noise_seed: int = 0,
) -> npt.NDArray[np.int16]:
    """Speak `text` in the language of `locale`; int16 [N] at SAMPLE_RATE.

    Args:
        voice: who speaks; `default_voice(locale)` if None.
        recording: silence, noise and level around the voice; a clean voice if None.
        noise_seed: picks the noise samples.

    Raises:
        ConfigError: no voice for `locale`, or `voice` speaks another language.
        EnvironmentFault: espeakng-loader is missing.
    """
    voice = voice or default_voice(locale)
    if voice.language != default_voice(locale).language:
        raise ConfigError(f"voice {voice.name!r} does not speak {locale}", fix="leave `voice` out")
    spoken = pronounce(text, voice=voice).astype(np.float64) / 2**15
    speech: npt.NDArray[np.float64] = soxr.resample(spoken, ESPEAK_SAMPLE_RATE, SAMPLE_RATE)
    if recording is not None:
        speech = record(speech, recording=recording, rng=np.random.default_rng(noise_seed))
    samples: npt.NDArray[np.int16] = np.clip(np.rint(speech * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    return samples


def write_corpus(
    folder: Path,
    *,
    locales: Sequence[str],
    utterances: Utterances,
    seed: int = 1,
    workers: int = 1,
) -> SpeechCorpus:
    """Write (or reuse) a corpus of `locales` under `folder`.

    A split whose seal fits the arguments and the files is kept; any other is written anew.
    A split that has fewer sentences than utterances says them again in other voices.

    Args:
        workers: processes that speak; they are spawned, so that a calling script needs the usual
            `if __name__ == "__main__"` guard above 1.

    Raises:
        ConfigError: a locale without grammar, an unknown split or a negative count.
        EnvironmentFault: espeakng-loader is missing.
    """
    readme = _readme()  # fails before anything is written where espeak-ng is missing
    splits = [
        _Split(folder=folder, locale=locale, name=name, count=count, seed=seed)
        for locale in locales
        for name, count in _counts(utterances, locale).items()
    ]
    stale = [split for split in splits if not _is_sealed(split)]
    if stale:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.txt").write_text(readme, encoding="utf-8")
        _write_splits(stale, workers=workers)
    log.info("%s: %d splits written, %d reused", folder, len(stale), len(splits) - len(stale))
    return SpeechCorpus(
        folder=folder,
        manifests={(split.locale, split.name): split.manifest for split in splits},
        hours={locale: sum(_hours(s) for s in splits if s.locale == locale) for locale in locales},
    )


def _counts(utterances: Utterances, locale: str) -> dict[Split, int]:
    grammar_of(locale)
    by_name = cast(Mapping[str, object], utterances)
    counts = cast(Mapping[str, object], by_name.get(locale, by_name))
    for name, count in counts.items():
        if name not in SPLITS or not isinstance(count, int) or count < 0:
            raise ConfigError(
                f"{locale}: {name!r}: {count!r} is not a split and its number of utterances",
                fix=f"give a count from 0 for any of {', '.join(SPLITS)}",
            )
    return cast(dict[Split, int], dict(counts))


def _write_splits(splits: Sequence[_Split], *, workers: int) -> None:
    if workers <= 1:
        for split in splits:
            _write_split(split, apply=map)
        return
    # Spawned, because forking a process in which Ray or torch runs threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for split in splits:
            _write_split(split, apply=partial(pool.map, chunksize=16))


def _write_split(split: _Split, *, apply: Callable[..., Iterable[ManifestRow]]) -> None:
    split.audio_folder.mkdir(parents=True, exist_ok=True)
    split.seal.unlink(missing_ok=True)  # until it is written again, the split counts as unfinished
    rows = list(apply(_write_utterance, repeat(split), range(split.count), _texts(split)))
    _remove_strays(split, rows)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    split.manifest.write_text("".join(lines), encoding="utf-8")
    _write_seal(split)
    log.info("%s: %d utterances", split.manifest, split.count)


def _texts(split: _Split) -> list[str]:
    num_distinct = min(split.count, len(sentences(split.locale, split=split.name)))
    distinct = draw_sentences(split.locale, count=num_distinct, seed=split.seed, split=split.name)
    texts = list(islice(cycle(distinct), split.count))
    if split.name != "train":
        return texts
    return [
        phrase_of(text, seed=split.seed + index) if index % 5 in _PHRASE_PLACES else text
        for index, text in enumerate(texts)
    ]


def _write_utterance(split: _Split, index: int, text: str) -> ManifestRow:
    """Speak one sentence into its FLAC file and return its manifest row."""
    rng = _rng(split, index)
    voice = _draw_voice(rng, language=ESPEAK_LANGUAGE[split.locale])
    samples = synthesize(
        text,
        locale=split.locale,
        voice=voice,
        recording=draw_recording(rng),
        noise_seed=int(rng.integers(2**63)),
    )
    utterance_id = f"{split.locale}-{split.name}-{index:05d}"
    path = split.audio_folder / f"{utterance_id}.flac"
    soundfile.write(path, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return {
        "audio_filepath": f"{split.name}/{path.name}",
        "duration": round(len(samples) / SAMPLE_RATE, 4),
        "text": text,
        "lang": split.locale,
        "target_lang": split.locale,
        "id": utterance_id,
        "speaker": voice.name,
    }


def _rng(split: _Split, index: int) -> np.random.Generator:
    key = hashlib.sha256(repr((split.seed, split.locale, split.name, index)).encode()).digest()
    return np.random.default_rng(int.from_bytes(key[:16]))


def _draw_voice(rng: np.random.Generator, *, language: str) -> Voice:
    return Voice(
        language=language,
        variant=VARIANTS[int(rng.integers(len(VARIANTS)))],
        rate_wpm=int(rng.integers(160, 216)),
        pitch=int(rng.integers(35, 66)),
        pitch_range=int(rng.integers(35, 66)),
    )


def _remove_strays(split: _Split, rows: Sequence[ManifestRow]) -> None:
    # A larger corpus may have stood here; only files named as ours are touched.
    expected = {f"{row['id']}.flac" for row in rows}
    for path in split.audio_folder.glob(f"{split.locale}-{split.name}-*.flac"):
        if path.name not in expected:
            path.unlink()


def _recipe(split: _Split) -> str:
    """Digest of all that decides the bytes of a split."""
    ingredients = (RECIPE_VERSION, espeak_version(), split.locale, split.name, split.count, split.seed)
    return hashlib.sha256(repr((*ingredients, _texts(split))).encode()).hexdigest()


def _content(split: _Split) -> str:
    """Digest of the manifest and of every audio file it names, in order."""
    manifest = split.manifest.read_bytes()
    digest = hashlib.sha256(manifest)
    for row in map(json.loads, manifest.splitlines()):
        audio = (split.manifest.parent / row["audio_filepath"]).read_bytes()
        digest.update(hashlib.sha256(audio).digest())
    return digest.hexdigest()


def _write_seal(split: _Split) -> None:
    seal = {"recipe": _recipe(split), "content": _content(split)}
    # Written last and moved into place: a split without a whole seal is not finished.
    draft = split.seal.with_suffix(".tmp")
    draft.write_text(json.dumps(seal, indent=1) + "\n", encoding="utf-8")
    draft.replace(split.seal)


def _is_sealed(split: _Split) -> bool:
    try:
        seal = json.loads(split.seal.read_text(encoding="utf-8"))
        return bool(seal == {"recipe": _recipe(split), "content": _content(split)})
    except (OSError, ValueError, KeyError, TypeError):
        return False  # absent, cut short or edited: the split is written anew


def _hours(split: _Split) -> float:
    rows = map(json.loads, split.manifest.read_text(encoding="utf-8").splitlines())
    return float(sum(row["duration"] for row in rows) / 3600)


def _readme() -> str:
    return (
        "SYNTHETIC SPEECH, not recordings of people.\n\n"
        "Sentences drawn from small grammars (asr_ray.testing.phrasebook), spoken by\n"
        f"espeak-ng {espeak_version()} (espeakng-loader) in the voice variants {', '.join(VARIANTS)}\n"
        "with random rate, pitch and level, white or pink noise at 20-40 dB SNR; resampled by soxr from\n"
        "22,050 Hz, stored as 16 kHz mono FLAC with NeMo JSONL manifests. No sentence stands in two\n"
        "splits.\n\n"
        "Written by asr_ray.testing.speech for tests and demonstrations. Error rates measured on it say\n"
        "whether a system works, never how well it understands people.\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `write_corpus`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m asr_ray.testing.speech",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--locales", default=",".join(ESPEAK_LANGUAGE), help="comma-separated (all)")
    parser.add_argument("--train", type=int, default=1500, help="utterances per locale (1500)")
    parser.add_argument("--validation", type=int, default=60, help="utterances per locale (60)")
    parser.add_argument("--test", type=int, default=100, help="utterances per locale (100)")
    parser.add_argument("--seed", type=int, default=1, help="of sentences, voices and noise (1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (one per CPU)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        corpus = write_corpus(
            options.out,
            locales=options.locales.split(","),
            utterances={name: getattr(options, name) for name in SPLITS},
            seed=options.seed,
            workers=options.workers,
        )
    except AsrRayError as error:
        log.error("%s", error)
        return error.exit_code
    for locale, hours in corpus.hours.items():
        log.info("%s: %.2f hours of synthetic speech", locale, hours)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
