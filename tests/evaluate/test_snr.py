"""The estimate orders recordings by noise, and says nothing where there is nothing to say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from asr_ray.evaluate.snr import estimated_snr_db
from asr_ray.records import SAMPLE_RATE


def recording(*, snr_db: float, seconds: float = 8.0) -> npt.NDArray[np.int16]:
    """Half of each second a tone of power 1, noise throughout."""
    rng = np.random.default_rng(7)
    time_s = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.sqrt(2) * np.sin(2 * np.pi * 220 * time_s) * (time_s % 1.0 < 0.5)
    noise = rng.normal(0, 10 ** (-snr_db / 20), len(time_s))
    return ((tone + noise) * 3000).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0, 30.0])
def test_estimate_is_near_a_known_ratio(snr_db: float) -> None:
    estimate = estimated_snr_db(recording(snr_db=snr_db))
    assert estimate is not None
    # Percentiles sit a little above the mean power at the top and a little below it at the bottom.
    assert snr_db - 1 < estimate < snr_db + 3


def test_offset_and_level_do_not_matter() -> None:
    samples = recording(snr_db=20.0)
    estimate = estimated_snr_db(samples)
    assert estimated_snr_db((samples + 5000).astype(np.int16)) == pytest.approx(estimate, abs=0.1)
    assert estimated_snr_db((samples // 2).astype(np.int16)) == pytest.approx(estimate, abs=0.2)


def test_digital_silence_around_speech_is_finite() -> None:
    samples = recording(snr_db=90.0)
    samples[SAMPLE_RATE // 2 : SAMPLE_RATE * 3] = 0
    estimate = estimated_snr_db(samples)
    assert estimate is not None
    assert 50 < estimate < 101


@pytest.mark.parametrize("samples", [np.zeros(8000), np.zeros(0), np.ones(100)])
def test_nothing_is_claimed_of_silence_and_snippets(samples: npt.NDArray[np.float64]) -> None:
    assert estimated_snr_db(samples.astype(np.int16)) is None
