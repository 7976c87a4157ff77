"""Encoded speech <-> samples, with limits that hold before anything is decoded.

Shape letter: N samples of one utterance. Everything behind preparation is mono at 16 kHz.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Self

import miniaudio
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr_ray.records import SAMPLE_RATE

_FULL_SCALE = 32768
_FLAC_MARK, _STREAMINFO_TYPE, _STREAMINFO_BYTES = b"fLaC", 0, 34
_LONGEST_FRAMES = 3600 * SAMPLE_RATE
"""More than any utterance; a header that claims it is damaged, and nothing is allocated for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioHeader:
    """What a file says about itself; nothing of it is trusted before the samples are counted.

    Attributes:
        num_frames: samples per channel.
        subtype: libsndfile's name of the coding (`PCM_16`, `FLOAT`, `VORBIS`).
    """

    sample_rate: int
    num_channels: int
    num_frames: int
    subtype: str

    @property
    def duration_s(self) -> float:
        """Seconds of audio announced."""
        return self.num_frames / self.sample_rate

    @property
    def num_samples(self) -> int:
        """Samples per channel after resampling to 16 kHz."""
        return resampled_length(self.num_frames, sample_rate=self.sample_rate)


def read_header(audio: bytes) -> AudioHeader:
    """Read the header of an encoded file; costs microseconds whatever the file claims to hold.

    Raises:
        soundfile.SoundFileError: not an audio file that libsndfile knows.
    """
    with soundfile.SoundFile(io.BytesIO(audio)) as file:
        return AudioHeader(
            sample_rate=file.samplerate,
            num_channels=file.channels,
            num_frames=file.frames,
            subtype=file.subtype,
        )


def decode_stored(audio: bytes, *, header: AudioHeader) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
    """Decode a mono file as it is stored: int16 [N] from 16-bit codings, else float32 [N] on a scale of one.

    Never more than the frames of `header`, which must have been judged before.

    Raises:
        soundfile.SoundFileError: the stream is damaged.
    """
    with soundfile.SoundFile(io.BytesIO(audio)) as file:
        if header.subtype == "PCM_16":
            return np.asarray(file.read(header.num_frames, dtype="int16"), dtype=np.int16)
        return np.asarray(file.read(header.num_frames, dtype="float32"), dtype=np.float32)


def contradicts_flac_md5(audio: bytes, samples: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> bool:
    """Return whether a 16-bit FLAC file announces another MD5 than that of its samples [N].

    The decoder finds damaged frames itself, but neither a damaged header nor frames that were cut out.
    """
    info = _StreamInfo.of(audio)
    if info is None or info.bits_per_sample != 16 or info.md5 is None or samples.dtype != np.int16:
        return False
    found = hashlib.md5(samples.astype("<i2", copy=False).data, usedforsecurity=False)
    return found.digest() != info.md5


@dataclass(frozen=True, slots=True)
class _StreamInfo:
    """What a FLAC file says about itself in its first block (RFC 9639, section 8.2).

    Attributes:
        num_frames: samples per channel, 0 when the encoder did not know.
        md5: of the interleaved little-endian samples, None when the encoder did not know it.
    """

    num_channels: int
    bits_per_sample: int
    num_frames: int
    md5: bytes | None

    @classmethod
    def of(cls, audio: bytes) -> Self | None:
        """Read the block; None for other files."""
        block = audio[8 : 8 + _STREAMINFO_BYTES]
        if audio[:4] != _FLAC_MARK or len(block) < _STREAMINFO_BYTES or audio[4] & 0x7F != _STREAMINFO_TYPE:
            return None
        # 20 bits of sampling rate, 3 of channels - 1, 5 of bits per sample - 1, 36 of frames.
        packed = int.from_bytes(block[10:18], "big")
        return cls(
            num_channels=(packed >> 41 & 0x7) + 1,
            bits_per_sample=(packed >> 36 & 0x1F) + 1,
            num_frames=packed & (1 << 36) - 1,
            md5=block[18:] if any(block[18:]) else None,
        )


def audio_hash(samples: npt.NDArray[np.int16] | npt.NDArray[np.float32]) -> int:
    """Return 64 bits over the samples [N] as 16-bit numbers, before any resampling.

    Of what was decoded, not of the file: the same recording as WAV and as FLAC, or with another title in
    its tags, is one recording. A lossy copy is another one. Two of 10 million different recordings fall
    together with a probability of 3 in a million.
    """
    pcm = samples if samples.dtype == np.int16 else to_pcm16(samples.astype(np.float32, copy=False))
    digest = hashlib.blake2b(pcm.astype("<i2", copy=False).data, digest_size=8).digest()
    return int.from_bytes(digest, "big")


def decode_float(audio: bytes) -> npt.NDArray[np.float32]:
    """Decode a mono file to float32 [N] on a scale of one, at its own sampling rate.

    Raises:
        soundfile.SoundFileError: the stream is damaged.
    """
    samples, _ = soundfile.read(io.BytesIO(audio), dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def decode_pcm16(audio: bytes) -> npt.NDArray[np.int16]:
    """Decode a mono file of 16 kHz to int16 [N].

    Raises:
        soundfile.SoundFileError: the stream is damaged.
    """
    if (samples := _decode_flac16(audio)) is not None:
        return samples
    with soundfile.SoundFile(io.BytesIO(audio)) as file:
        if file.frames > _LONGEST_FRAMES:
            raise soundfile.SoundFileRuntimeError(f"its header claims {file.frames} samples")
        if file.subtype == "PCM_16":
            return np.asarray(file.read(dtype="int16"), dtype=np.int16)
        # libsndfile does not scale float files when asked for integers: all samples would be zero.
        return to_pcm16(np.asarray(file.read(dtype="float32"), dtype=np.float32))


def _decode_flac16(audio: bytes) -> npt.NDArray[np.int16] | None:
    """Decode a mono 16-bit FLAC file with dr_flac: the same samples for 60% of the time of libsndfile.

    None leaves a file to libsndfile: another coding, or one of which not every announced frame is whole.
    """
    info = _StreamInfo.of(audio)
    if info is None or (info.num_channels, info.bits_per_sample) != (1, 16):
        return None
    if not 0 < info.num_frames <= _LONGEST_FRAMES:
        return None
    try:
        samples = np.frombuffer(miniaudio.flac_read_s16(audio).samples, dtype=np.int16)
    except miniaudio.DecodeError:
        return None
    return samples if len(samples) == info.num_frames else None


def to_pcm16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Round float32 [N] on a scale of one to int16 [N]; louder samples are clipped."""
    scaled = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return scaled.astype(np.int16)


def encode_flac(samples: npt.NDArray[np.int16], *, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Encode int16 [N] (or [N, channels]) as FLAC, without loss."""
    target = io.BytesIO()
    soundfile.write(target, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return target.getvalue()


def resampled_length(num_frames: int, *, sample_rate: int) -> int:
    """Number of samples at 16 kHz of a file of `num_frames` at `sample_rate`."""
    return round(num_frames * SAMPLE_RATE / sample_rate)


def conform(audio: bytes) -> bytes:
    """Return the file as it is if it has 16 kHz, else resampled and encoded as FLAC.

    Raises:
        soundfile.SoundFileError: the stream is damaged.
    """
    header = read_header(audio)
    if header.sample_rate == SAMPLE_RATE:
        return audio
    samples = soxr.resample(decode_float(audio), header.sample_rate, SAMPLE_RATE)
    # The resampler may end a sample early or late; the length announced by the catalog is exact.
    exact = np.zeros(header.num_samples, dtype=np.float32)
    length = min(len(exact), len(samples))
    exact[:length] = samples[:length]
    return encode_flac(to_pcm16(exact))
