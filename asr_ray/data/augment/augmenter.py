"""The audio of one utterance, changed as its seed says: speed, room, noise, gain, telephone, codec.

Nothing here is random: the key of a use (`speed.Draws`, from the seed of the run, the catalog row and
the pass) gives every number, and each number has its own place. So the same use sounds the same in
any process, and switching one operation on or off leaves the draws of the others alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr_ray.data.audio import to_pcm16
from asr_ray.data.augment.effects import (
    Samples,
    at_speed,
    check_codecs,
    in_room,
    limited,
    through_codec,
    through_telephone,
    with_gain,
    with_noise,
)
from asr_ray.data.augment.sounds import Sounds
from asr_ray.data.augment.speed import SpeedRule
from asr_ray.data.shuffle import uniforms
from asr_ray.settings.augment import AugmentSettings, SpeedSettings


class _Numbers(NamedTuple):
    """What each uniform number of a key decides. New ones go to the end, so that old draws stay."""

    speed: float  # taken by the plan, see `speed.Speeds`
    room: float
    room_file: float
    noise: float
    noise_file: float
    noise_place: float
    noise_snr: float
    gain: float
    gain_db: float
    telephone: float
    codec: float
    codec_name: float
    codec_compression: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmenter:
    """The operations of some settings, with the lists of files that they draw from."""

    settings: AugmentSettings
    rooms: Sounds | None = None
    noises: Sounds | None = None

    @classmethod
    def build(cls, settings: AugmentSettings) -> Augmenter:
        """List the files and check what libsndfile can do.

        Raises:
            DataError: a folder or manifest that cannot be used.
            EnvironmentFault: a codec that is not installed.
        """
        if settings.codec:
            check_codecs(settings.codec.codecs)
        return cls(
            settings=settings,
            rooms=Sounds.read(settings.room.path) if settings.room else None,
            noises=Sounds.read(settings.noise.path) if settings.noise else None,
        )

    def apply(self, samples: npt.NDArray[np.int16], *, key: int, speed: float) -> npt.NDArray[np.int16]:
        """Return int16 [`speed.played_samples`]; the very samples given when nothing is to be done.

        Args:
            samples: int16 [N] at 16 kHz.
            key: seed of this use.
            speed: factor that the plan decided on.
        """
        numbers = _Numbers(*uniforms(len(_Numbers._fields), seed=key).tolist())
        original: Samples = samples.astype(np.float32) / np.float32(32768)
        changed = at_speed(original, factor=speed) if speed != 1 else original
        changed = self._recorded(changed, numbers)
        changed = self._transmitted(changed, numbers)
        return samples if changed is original else to_pcm16(limited(changed))

    def _recorded(self, samples: Samples, numbers: _Numbers) -> Samples:
        """What happens between mouth and microphone."""
        room, noise, gain = self.settings.room, self.settings.noise, self.settings.gain
        if room and self.rooms and numbers.room < room.probability:
            samples = in_room(samples, response=self.rooms.pick(numbers.room_file).read())
        if noise and self.noises and numbers.noise < noise.probability:
            piece = self.noises.pick(numbers.noise_file).piece(len(samples), place=numbers.noise_place)
            samples = with_noise(samples, noise=piece, snr_db=_between(noise.snr_db, numbers.noise_snr))
        if gain and numbers.gain < gain.probability:
            samples = with_gain(samples, gain_db=_between(gain.range_db, numbers.gain_db))
        return samples

    def _transmitted(self, samples: Samples, numbers: _Numbers) -> Samples:
        """What happens on the way to the recogniser."""
        telephone, codec = self.settings.telephone, self.settings.codec
        if telephone and numbers.telephone < telephone.probability:
            samples = through_telephone(samples)
        if codec and numbers.codec < codec.probability:
            samples = through_codec(
                samples,
                codec=codec.codecs[int(numbers.codec_name * len(codec.codecs))],
                compression=_between(codec.compression, numbers.codec_compression),
            )
        return samples


def speed_rule(settings: SpeedSettings | None) -> SpeedRule | None:
    """The rule of some settings; None when they change no duration."""
    if settings is None or settings.probability == 0 or set(settings.factors) == {1.0}:
        return None
    return SpeedRule(factors=tuple(settings.factors), probability=settings.probability)


def _between(limits: tuple[float, float], number: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * number
