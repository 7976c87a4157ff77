"""What augmentation does to samples: pure functions, float32 [N] on a scale of one in and out.

All but `at_speed` keep the number of samples and their time: sample n of the result belongs to sample n
of what was given. The arithmetic is that of soxr, SciPy and libsndfile.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile
import soxr

from asr_ray.data.augment.speed import played_samples
from asr_ray.data.shuffle import Int64s
from asr_ray.errors import EnvironmentFault
from asr_ray.records import SAMPLE_RATE
from asr_ray.settings.augment import Codec

Samples = npt.NDArray[np.float32]

_TELEPHONE_RATE = 8_000

_PEAK = 32767 / 32768
"""The loudest sample that int16 can hold on both sides."""


class _Format(NamedTuple):
    """How libsndfile writes a codec; `graded` ones take a level of compression."""

    container: str
    subtype: str
    sample_rate: int
    graded: bool


_FORMATS: dict[Codec, _Format] = {
    "mu-law": _Format("WAV", "ULAW", _TELEPHONE_RATE, False),
    "a-law": _Format("WAV", "ALAW", _TELEPHONE_RATE, False),
    "gsm": _Format("WAV", "GSM610", _TELEPHONE_RATE, False),
    "opus": _Format("OGG", "OPUS", SAMPLE_RATE, True),
    "vorbis": _Format("OGG", "VORBIS", SAMPLE_RATE, True),
    "mp3": _Format("MP3", "MPEG_LAYER_III", SAMPLE_RATE, True),
}


def at_speed(samples: Samples, *, factor: float) -> Samples:
    """Played at `factor` of its speed, pitch included; `speed.played_samples` long."""
    length: Int64s = played_samples(np.array([len(samples)]), np.array([factor]))
    return _fitted(soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE), int(length[0]))


def in_room(samples: Samples, *, response: Samples) -> Samples:
    """As heard in a room, as loud as before; the direct path (the peak of `response` [R]) comes at once."""
    direct = int(np.abs(response).argmax())
    heard = scipy.signal.oaconvolve(samples, response)[direct : direct + len(samples)]
    loudness = _rms(heard)
    return np.asarray(heard * (_rms(samples) / loudness) if loudness else samples, dtype=np.float32)


def with_noise(samples: Samples, *, noise: Samples, snr_db: float) -> Samples:
    """With `noise` [N] so loud that the power of the speech is `snr_db` above it; silence adds nothing."""
    loudness = _rms(noise)
    if not loudness:
        return samples
    level = _rms(samples) / loudness * 10 ** (-snr_db / 20)
    return np.asarray(samples + noise * level, dtype=np.float32)


def with_gain(samples: Samples, *, gain_db: float) -> Samples:
    """Louder by `gain_db`."""
    return np.asarray(samples * 10 ** (gain_db / 20), dtype=np.float32)


def through_telephone(samples: Samples) -> Samples:
    """Without anything above 4 kHz."""
    carried = soxr.resample(samples, SAMPLE_RATE, _TELEPHONE_RATE)
    return _fitted(soxr.resample(carried, _TELEPHONE_RATE, SAMPLE_RATE), len(samples))


def through_codec(samples: Samples, *, codec: Codec, compression: float) -> Samples:
    """Encoded and decoded by libsndfile; `compression` from 0 to 1 where the codec has levels."""
    form = _FORMATS[codec]
    carried = limited(_resampled(samples, SAMPLE_RATE, form.sample_rate))
    file = io.BytesIO()
    soundfile.write(
        file,
        carried,
        form.sample_rate,
        format=form.container,
        subtype=form.subtype,
        compression_level=compression if form.graded else None,
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    # Some codecs fill their last block up.
    return _fitted(_resampled(_fitted(decoded, len(carried)), form.sample_rate, SAMPLE_RATE), len(samples))


def limited(samples: Samples) -> Samples:
    """As it is, or softer where it would clip."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if peak <= _PEAK else np.asarray(samples * (_PEAK / peak), dtype=np.float32)


def check_codecs(codecs: list[Codec]) -> None:
    """Raise EnvironmentFault for a codec that this machine's libsndfile cannot write."""
    for codec in codecs:
        form = _FORMATS[codec]
        if form.subtype not in soundfile.available_subtypes(form.container):
            raise EnvironmentFault(
                f"libsndfile {soundfile.__libsndfile_version__} cannot write {codec}",
                fix="install a newer soundfile, or take it out of data.augment.codec.codecs",
            )


def _resampled(samples: Samples, rate: int, new_rate: int) -> Samples:
    return samples if rate == new_rate else np.asarray(soxr.resample(samples, rate, new_rate))


def _fitted(samples: npt.NDArray[np.floating], length: int) -> Samples:
    """Cut or filled with zeros at the end: resamplers end a sample early or late."""
    fitted = np.zeros(length, dtype=np.float32)
    fitted[: len(samples)] = samples[:length]
    return fitted


def _rms(samples: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
