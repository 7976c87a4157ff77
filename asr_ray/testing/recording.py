"""From a clean voice to a recording of it: silence around it, noise under it, another level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from asr_ray.records import SAMPLE_RATE

NoiseColour = Literal["white", "pink"]

_PINK_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """How a microphone would have heard the voice.

    Attributes:
        lead_s, tail_s: silence (noise only) before and after the speech.
        snr_db: power of the speech over that of the noise.
        noise: spectrum of the noise, flat or falling by 3 dB per octave.
        peak: largest sample of the speech as a share of full scale.
    """

    lead_s: float
    tail_s: float
    snr_db: float
    noise: NoiseColour
    peak: float


def draw_recording(rng: np.random.Generator) -> Recording:
    """A room and a microphone of everyday quality: light noise at 20 to 40 dB, level within 11 dB."""
    return Recording(
        lead_s=float(rng.uniform(0.05, 0.20)),
        tail_s=float(rng.uniform(0.10, 0.25)),
        snr_db=float(rng.uniform(20.0, 40.0)),
        noise="pink" if rng.random() < _PINK_SHARE else "white",
        peak=float(rng.uniform(0.25, 0.9)),
    )


def record(
    speech: npt.NDArray[np.float64], *, recording: Recording, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Speech [N] in -1..1 at SAMPLE_RATE as `recording` hears it: float64 [lead + N + tail]."""
    loudest = np.abs(speech).max(initial=0.0)
    scaled = speech * (recording.peak / loudest) if loudest else speech
    lead, tail = (round(seconds * SAMPLE_RATE) for seconds in (recording.lead_s, recording.tail_s))
    speech_rms = np.sqrt(np.mean(scaled**2)) if scaled.size else 0.0
    noise = make_noise(lead + len(scaled) + tail, colour=recording.noise, rng=rng)
    heard: npt.NDArray[np.float64] = np.pad(scaled, (lead, tail))
    heard += noise * speech_rms * 10 ** (-recording.snr_db / 20)
    return heard


def make_noise(num_samples: int, *, colour: NoiseColour, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise of unit power (in expectation, if white), float64 [num_samples]."""
    # A power of two, because the transform of a prime length costs more than the speech itself.
    white: npt.NDArray[np.float64] = rng.standard_normal(1 << max(num_samples - 1, 1).bit_length())
    if colour == "white":
        return white[:num_samples]
    spectrum = np.fft.rfft(white)
    # Power falls as 1/f, amplitude as its root; the lowest bin is kept finite.
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0))
    pink: npt.NDArray[np.float64] = np.fft.irfft(spectrum)[:num_samples]
    pink /= np.sqrt(np.mean(pink**2))
    return pink
