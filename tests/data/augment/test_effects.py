"""Each effect keeps length and time, and does what its name says, measured on the signal."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

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
from asr_ray.data.augment.speed import played_samples
from asr_ray.errors import EnvironmentFault
from asr_ray.records import SAMPLE_RATE
from asr_ray.settings.augment import Codec
from asr_ray.testing.recording import make_noise

CODECS: tuple[Codec, ...] = get_args(Codec)


def speechlike(num_samples: int = SAMPLE_RATE, *, seed: int = 0) -> Samples:
    """Noise with most of its power below 1 kHz, at a tenth of full scale."""
    white = np.random.default_rng(seed).standard_normal(num_samples)
    coloured = scipy.signal.lfilter([1.0], [1.0, -0.9], white)
    return (coloured / np.abs(coloured).max() / 10).astype(np.float32)


def tone(frequency_hz: float, *, num_samples: int = SAMPLE_RATE) -> Samples:
    return (0.3 * np.sin(2 * np.pi * frequency_hz * np.arange(num_samples) / SAMPLE_RATE)).astype(np.float32)


def power_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def lag(heard: Samples, said: Samples) -> int:
    """Samples by which `heard` comes later."""
    correlation = scipy.signal.correlate(heard, said)
    return int(np.argmax(correlation)) - (len(said) - 1)


@given(num_samples=st.integers(1, 3000), factor=st.sampled_from([0.5, 0.83, 0.9, 1.1, 1.37, 2.0]))
def test_speed_gives_exactly_the_planned_samples(num_samples: int, factor: float) -> None:
    played = at_speed(speechlike(num_samples), factor=factor)
    assert len(played) == played_samples(np.array([num_samples]), np.array([factor]))[0]


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_faster_tone_is_higher(factor: float) -> None:
    played = at_speed(tone(1000), factor=factor)
    spectrum = np.abs(np.fft.rfft(played))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(played) == pytest.approx(1000 * factor, abs=2)


def test_a_room_keeps_length_time_and_loudness() -> None:
    said = speechlike()
    response = np.zeros(4000, dtype=np.float32)
    response[120] = 1.0  # what came before the direct path in the recording must not delay the speech
    response[120:] += np.random.default_rng(1).standard_normal(3880) * 0.1 * np.exp(-np.arange(3880) / 800)
    heard = in_room(said, response=response)
    assert len(heard) == len(said)
    assert lag(heard, said) == 0
    assert power_db(heard) == pytest.approx(power_db(said), abs=0.01)
    assert not np.allclose(heard, said, atol=1e-3)


def test_a_room_that_is_one_impulse_changes_nothing() -> None:
    said = speechlike()
    assert np.allclose(in_room(said, response=np.array([0, 0, 0.5], dtype=np.float32)), said, atol=1e-6)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_is_as_far_below_as_asked(snr_db: float) -> None:
    said = speechlike()
    noise = make_noise(len(said), colour="pink", rng=np.random.default_rng(2)).astype(np.float32)
    added = with_noise(said, noise=noise, snr_db=snr_db) - said
    assert power_db(said) - power_db(added) == pytest.approx(snr_db, abs=0.01)


def test_silent_noise_and_silent_speech_stay_what_they_are() -> None:
    said, silence = speechlike(), np.zeros(SAMPLE_RATE, dtype=np.float32)
    assert np.array_equal(with_noise(said, noise=silence, snr_db=0), said)
    assert np.array_equal(with_noise(silence, noise=said, snr_db=0), silence)
    assert np.array_equal(in_room(silence, response=said), silence)


def test_gain_is_in_decibels() -> None:
    assert power_db(with_gain(speechlike(), gain_db=-7.5)) == pytest.approx(
        power_db(speechlike()) - 7.5, abs=1e-3
    )


def test_a_telephone_carries_what_is_below_4_khz() -> None:
    assert power_db(through_telephone(tone(1000))) == pytest.approx(power_db(tone(1000)), abs=0.1)
    assert power_db(through_telephone(tone(5000))) < power_db(tone(5000)) - 40
    assert lag(through_telephone(speechlike()), speechlike()) == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("num_samples", [1, 319, 16_001])
def test_a_codec_keeps_the_length(codec: Codec, num_samples: int) -> None:
    check_codecs([codec])
    assert len(through_codec(speechlike(num_samples), codec=codec, compression=0.5)) == num_samples


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_keeps_the_time_and_loses_something(codec: Codec) -> None:
    said = speechlike()
    heard = through_codec(said, codec=codec, compression=0.95)
    assert lag(heard, said) == 0
    assert 0.7 < np.corrcoef(heard, said)[0, 1] < 0.9999


@settings(max_examples=25)
@given(level=st.floats(0.01, 8.0))
def test_nothing_clips(level: float) -> None:
    loud = speechlike() / np.abs(speechlike()).max() * np.float32(level)
    quiet = limited(loud)
    assert np.abs(quiet).max() <= 1.0
    if level <= 0.99:
        assert quiet is loud
    else:
        assert np.corrcoef(quiet, loud)[0, 1] == pytest.approx(1.0)


def test_a_codec_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundfile.available_subtypes", lambda container: {})
    with pytest.raises(EnvironmentFault, match="cannot write gsm"):
        check_codecs(["gsm"])
