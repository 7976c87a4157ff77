"""Samples survive the ways in which they are stored."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.audio import (
    audio_hash,
    conform,
    decode_float,
    decode_pcm16,
    decode_stored,
    encode_flac,
    read_header,
    to_pcm16,
)
from asr_ray.testing.noise import noise


def encoded(samples: np.ndarray, *, kind: str, subtype: str, sample_rate: int = 16_000) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, sample_rate, format=kind, subtype=subtype)
    return target.getvalue()


def test_flac_is_lossless() -> None:
    samples = noise(0.5)

    assert (decode_pcm16(encode_flac(samples)) == samples).all()


_SPEECH = noise(0.5)
_FLAC = encode_flac(_SPEECH)


@settings(max_examples=300)
@given(bit=st.integers(0, 8 * len(_FLAC) - 1))
def test_damaged_flac_gives_its_own_samples_or_an_error(bit: int) -> None:
    damaged = bytearray(_FLAC)
    damaged[bit // 8] ^= 1 << bit % 8

    try:
        samples = decode_pcm16(bytes(damaged))
    except soundfile.SoundFileError:
        return
    # Damage in a tag or in the announced sampling rate is none to the samples. A header that announces
    # fewer of them goes undetected here; the length that was prepared tells, see `assemble`.
    assert np.array_equal(samples, _SPEECH[: len(samples)])


@given(length=st.integers(0, len(_FLAC) - 1))
def test_flac_that_was_cut_off_is_not_taken_for_a_shorter_utterance(length: int) -> None:
    with pytest.raises(soundfile.SoundFileError):
        decode_pcm16(_FLAC[:length])


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_24"])
def test_flac_of_other_widths_is_scaled(subtype: str) -> None:
    decoded = decode_pcm16(encoded(_SPEECH, kind="FLAC", subtype=subtype))

    assert np.abs(decoded.astype(int) - _SPEECH).max() <= (256 if subtype == "PCM_S8" else 1)


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16", "PCM_24"])
def test_integers_come_from_every_coding_of_wav(subtype: str) -> None:
    samples = noise(0.5)

    decoded = decode_pcm16(encoded(samples / 32768, kind="WAV", subtype=subtype))

    assert np.abs(decoded.astype(int) - samples).max() <= 1


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_codings_keep_level_and_length(kind: str, subtype: str) -> None:
    tone = (8_000 * np.sin(np.arange(16_000) * 0.2)).astype(np.int16)

    decoded = decode_pcm16(encoded(tone, kind=kind, subtype=subtype))

    assert len(decoded) == 16_000
    assert np.std(decoded) == pytest.approx(np.std(tone), rel=0.05)


@given(value=st.integers(-32_768, 32_767))
def test_pcm_survives_the_way_through_floats(value: int) -> None:
    assert to_pcm16(np.array([value / 32768], dtype=np.float32))[0] == value


def test_loud_floats_are_clipped_not_wrapped() -> None:
    assert to_pcm16(np.array([1.5, -1.5], dtype=np.float32)).tolist() == [32_767, -32_768]


def test_a_file_of_16_khz_is_left_as_it_is() -> None:
    audio = encoded(noise(0.3), kind="OGG", subtype="VORBIS")

    assert conform(audio) is audio


@given(
    num_frames=st.integers(500, 5_000), sample_rate=st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000])
)
def test_resampling_gives_exactly_the_announced_length(num_frames: int, sample_rate: int) -> None:
    audio = encode_flac(noise(0.5)[:num_frames], sample_rate=sample_rate)

    assert len(decode_float(conform(audio))) == read_header(audio).num_samples


def test_resampling_keeps_the_pitch() -> None:
    tone = (8_000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)

    resampled = decode_pcm16(conform(encode_flac(tone, sample_rate=48_000)))

    assert np.abs(np.fft.rfft(resampled)).argmax() == 440


def test_the_same_recording_has_one_hash_whatever_the_file() -> None:
    samples = noise(0.5)
    wave, wide = io.BytesIO(), io.BytesIO()
    soundfile.write(wave, samples, 16_000, format="WAV", subtype="PCM_16")
    soundfile.write(wide, samples / 32768, 16_000, format="WAV", subtype="FLOAT")
    files = [encode_flac(samples), wave.getvalue(), wide.getvalue()]

    hashes = {audio_hash(decode_stored(each, header=read_header(each))) for each in files}

    assert len(hashes) == 1
    assert hashes != {audio_hash(samples[:-1])}
    assert 0 <= hashes.pop() < 2**64


def test_no_more_is_decoded_than_the_header_says() -> None:
    audio = encode_flac(noise(0.5))
    header = dataclasses.replace(read_header(audio), num_frames=100)

    assert len(decode_stored(audio, header=header)) == 100
