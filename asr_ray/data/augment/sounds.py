"""Files of noises and of rooms: listed once by their headers, read piece by piece when one is drawn.

Only paths and headers are kept, so that a list travels with every reading task.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr_ray.errors import DataError
from asr_ray.records import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


@dataclass(frozen=True, slots=True)
class Sound:
    """One file.

    Attributes:
        num_frames: samples per channel.
        sample_rate: its own; reading resamples.
    """

    path: Path
    num_frames: int
    sample_rate: int

    def read(self) -> Samples:
        """The whole file, mono at 16 kHz on a scale of one; float32 [N]."""
        return self._read(start=0, num_frames=self.num_frames)

    def piece(self, num_samples: int, *, place: float) -> Samples:
        """A piece of the file, begun again from its start where it is too short; float32 [num_samples].

        Args:
            place: where the piece begins, from 0 to 1 of what is possible.
        """
        wanted = math.ceil(num_samples * self.sample_rate / SAMPLE_RATE)
        if wanted <= self.num_frames:
            samples = self._read(start=int(place * (self.num_frames - wanted)), num_frames=wanted)
        else:
            samples = self.read()
            samples = np.roll(samples, -int(place * len(samples)))
        return np.resize(samples, num_samples)

    def _read(self, *, start: int, num_frames: int) -> Samples:
        try:
            samples, _ = soundfile.read(
                self.path, start=start, frames=num_frames, dtype="float32", always_2d=True
            )
        except (soundfile.SoundFileError, OSError) as error:
            raise DataError(f"{self.path}: cannot be read: {error}", fix=_FIX) from None
        mono = samples.mean(axis=1)
        if self.sample_rate != SAMPLE_RATE:
            mono = soxr.resample(mono, self.sample_rate, SAMPLE_RATE)
        return np.asarray(mono, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Sounds:
    """A list of files to draw from, in the order of their names or of the manifest."""

    files: tuple[Sound, ...]

    @classmethod
    def read(cls, path: Path) -> Sounds:
        """List a folder (with all folders in it) or a manifest of JSON lines with `audio_filepath`.

        Raises:
            DataError: nothing there, or a file that is no audio or holds none.
        """
        files = tuple(_header(file) for file in (_of_folder(path) if path.is_dir() else _of_manifest(path)))
        if not files:
            raise DataError(f"{path} holds no audio file ({', '.join(sorted(_SUFFIXES))})", fix=_FIX)
        return cls(files)

    def pick(self, number: float) -> Sound:
        """The file that a number in [0, 1) stands for."""
        return self.files[int(number * len(self.files))]


_FIX = "correct the path under data.augment, or take the file out"


def _of_folder(folder: Path) -> Iterator[Path]:
    yield from sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)


def _of_manifest(path: Path) -> Iterator[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: neither a folder nor a readable manifest: {error}", fix=_FIX) from None
    for number, line in enumerate(lines, start=1):
        try:
            yield path.parent / json.loads(line)["audio_filepath"]
        except (ValueError, TypeError, KeyError):
            raise DataError(
                f"{path}:{number}: no JSON object with audio_filepath", fix="correct that line"
            ) from None


def _header(file: Path) -> Sound:
    try:
        header = soundfile.info(file)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{file}: not an audio file: {error}", fix=_FIX) from None
    if header.frames < 1:
        raise DataError(f"{file}: holds no samples", fix=_FIX)
    return Sound(file, header.frames, header.samplerate)
