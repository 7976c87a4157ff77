"""How noisy a recording is, estimated from nothing but itself.

Power in frames of 20 ms; the frames at the 10th percentile are taken for noise, those at the 95th for speech
in noise, and the ratio is what speech adds to the noise. Percentiles of frame power are an old and cheap
stand-in for a detector of speech (the `stnr` of NIST's speech quality tools fits its histogram). The
estimate sorts recordings into bands and is no measurement: music counts as speech, and a recording without
a pause has its softest speech taken for noise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_ray.records import SAMPLE_RATE

MIN_FRAMES = 20
"""Frames of 20 ms below which percentiles say nothing."""

_FRAME = SAMPLE_RATE // 50
_NOISE_PERCENTILE, _SPEECH_PERCENTILE = 10, 95

# Digital silence is not without noise: it has that of rounding to 16 bits, a twelfth of a squared step.
_ROUNDING_POWER = 1.0 / 12.0


def estimated_snr_db(samples: npt.NDArray[np.int16]) -> float | None:
    """Return the estimate for int16 [N] at 16 kHz, to a tenth of a decibel.

    None for less than 0.4 s, and where the loudest frames are no louder than the softest.
    """
    num_frames = len(samples) // _FRAME
    if num_frames < MIN_FRAMES:
        return None
    frames = samples[: num_frames * _FRAME].reshape(num_frames, _FRAME).astype(np.float32)
    # Without the mean of each frame: an offset of the converter is no noise.
    power = frames.var(axis=1, dtype=np.float64) + _ROUNDING_POWER
    noise, speech = np.percentile(power, [_NOISE_PERCENTILE, _SPEECH_PERCENTILE])
    if speech <= noise:
        return None
    return round(float(10 * np.log10((speech - noise) / noise)), 1)
