"""The schema of `data.augment`: what is done to the audio of an utterance each time it is trained on.

Every operation is off until its section is written. Files of noises and rooms are read by
`asr_ray.data.augment.sounds`: a folder of audio files, or a manifest with one `audio_filepath` a line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from asr_ray.config import Settings
from asr_ray.settings.fields import Share

_Level = Annotated[float, Field(ge=0.0, le=0.95)]
Codec = Literal["mu-law", "a-law", "gsm", "opus", "vorbis", "mp3"]


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"{limits[0]:g} to {limits[1]:g} is no range; write the smaller number first")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_rising)]


class SpeedSettings(Settings):
    """Play faster or slower, pitch included; the batches are planned with the new durations."""

    probability: Share = 1.0
    factors: list[Annotated[float, Field(ge=0.5, le=2.0)]] = Field([0.9, 1.0, 1.1], min_length=1)
    """One of them is drawn; 1.1 is faster by a tenth."""


class RoomSettings(Settings):
    """Let the utterance sound as in a room, by convolution with a recorded impulse response."""

    path: Path
    """Folder or manifest of impulse responses."""
    probability: Share = 0.3


class NoiseSettings(Settings):
    """Add noise from a file, as long as the utterance."""

    path: Path
    """Folder or manifest of noises."""
    probability: Share = 0.5
    snr_db: Range = (5.0, 30.0)
    """Power of the speech over that of the noise, drawn uniformly."""


class GainSettings(Settings):
    """Make it louder or softer, never so loud that it clips."""

    probability: Share = 0.5
    range_db: Range = (-12.0, 6.0)


class TelephoneSettings(Settings):
    """Take away all that a telephone does not carry: everything above 4 kHz."""

    probability: Share = 0.1


class CodecSettings(Settings):
    """Encode and decode with loss. Dear for `opus`: a core encodes some 20 seconds of audio a second."""

    probability: Share = 0.05
    codecs: list[Codec] = Field(["mu-law", "gsm", "mp3"], min_length=1)
    """One of them is drawn; the first three of `mu-law, a-law, gsm, opus, vorbis, mp3` are at 8 kHz."""
    compression: Annotated[tuple[_Level, _Level], AfterValidator(_rising)] = (0.5, 0.95)
    """How hard opus, vorbis and mp3 compress, in the scale of libsndfile, drawn uniformly."""


class AugmentSettings(Settings):
    """Operations in the order in which they are applied; null leaves one out."""

    speed: SpeedSettings | None = None
    room: RoomSettings | None = None
    noise: NoiseSettings | None = None
    gain: GainSettings | None = None
    telephone: TelephoneSettings | None = None
    codec: CodecSettings | None = None
