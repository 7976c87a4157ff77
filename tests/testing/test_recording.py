"""A recording has the silence, the noise and the level that were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.records import SAMPLE_RATE
from asr_ray.testing.recording import NoiseColour, Recording, draw_recording, make_noise, record

TONE = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
QUIET = Recording(lead_s=0.5, tail_s=0.25, snr_db=200.0, noise="white", peak=0.5)


def test_silence_and_level() -> None:
    heard = record(TONE, recording=QUIET, rng=np.random.default_rng(1))
    assert len(heard) == 1.75 * SAMPLE_RATE
    assert np.abs(heard[: SAMPLE_RATE // 2]).max() < 1e-6
    assert np.abs(heard).max() == pytest.approx(0.5, abs=1e-6)


@given(snr_db=st.floats(0, 60), colour=st.sampled_from(["white", "pink"]), seed=st.integers(0, 2**31))
def test_noise_stands_as_far_under_the_speech_as_asked(snr_db: float, colour: NoiseColour, seed: int) -> None:
    recording = replace(QUIET, snr_db=snr_db, noise=colour)
    noisy = record(TONE, recording=recording, rng=np.random.default_rng(seed))
    noise = noisy - record(TONE, recording=QUIET, rng=np.random.default_rng(seed))
    speech_power = 0.5**2 / 2
    assert 10 * np.log10(speech_power / np.mean(noise**2)) == pytest.approx(snr_db, abs=1.0)


def test_pink_noise_falls_by_three_decibels_per_octave() -> None:
    rng = np.random.default_rng(1)
    power = np.abs(np.fft.rfft(make_noise(2**16, colour="pink", rng=rng))) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(8, 15)]
    slopes_db = 10 * np.log10(np.array(octaves[1:]) / np.array(octaves[:-1]))
    assert slopes_db.mean() == pytest.approx(-3.0, abs=0.2)


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("num_samples", [1, 2, 4_001])
def test_noise_has_the_length_asked_for(num_samples: int, colour: NoiseColour) -> None:
    noise = make_noise(num_samples, colour=colour, rng=np.random.default_rng(1))
    assert noise.shape == (num_samples,)
    assert np.isfinite(noise).all()


@pytest.mark.parametrize("speech", [np.zeros(0), np.zeros(100)])
def test_without_speech_there_is_silence(speech: np.ndarray) -> None:
    heard = record(speech, recording=QUIET, rng=np.random.default_rng(1))
    assert len(heard) == len(speech) + 0.75 * SAMPLE_RATE
    assert not heard.any()


@given(st.integers(0, 2**31))
def test_drawn_recordings_are_lightly_noisy_and_do_not_clip(seed: int) -> None:
    recording = draw_recording(np.random.default_rng(seed))
    assert 20 <= recording.snr_db <= 40
    assert 0.2 < recording.peak <= 0.9
