"""Samples survive the ways in which they are stored."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
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
