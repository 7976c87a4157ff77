"""The audio of a row: a file as found, or a stretch or a channel of it as FLAC."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from asr_ray.data import storage
from asr_ray.data.audio import encode_flac, to_pcm16
from asr_ray.data.corpus.content import BadRow
from asr_ray.records import Reason, Stored

MAX_FILE_BYTES = 64 * 2**20
"""Of an utterance that is a whole file."""

_MAX_SEGMENT_SAMPLES = 32 * 2**20


class Clipped(NamedTuple):
    """Encoded audio, and where it stands if it is as found."""

    audio: bytes
    stored: Stored | None


def clip(
    source: str | bytes,
    *,
    name: str = "",
    stored: Stored | None = None,
    offset_s: float | None = None,
    duration_s: float | None = None,
    channel: int | None = None,
) -> Clipped:
    """Return a file as it is, or what is wanted of it as FLAC at its own sampling rate.

    Args:
        source: path, URL or content.
        name: of a content, for messages.
        stored: where a content stands.
        offset_s: where a segment of `duration_s` begins; None takes the whole file.
        channel: the one to take; None keeps all of them.

    Raises:
        BadRow: the file is absent, too large, undecodable or has no such segment or channel.
        DataError: storage does not answer.
    """
    name = source if isinstance(source, str) else name
    try:
        if offset_s is None and channel is None:
            return _whole(source, name=name, stored=stored)
        with _opened(source) as recording:
            start, num_frames = _stretch(recording, offset_s=offset_s, duration_s=duration_s)
            _check_channel(recording, channel)
            is_whole = start == 0 and num_frames >= recording.frames
            if is_whole and (channel is None or recording.channels == 1):
                return _whole(source, name=name, stored=stored)
            return Clipped(_part(recording, start=start, num_frames=num_frames, channel=channel), None)
    except soundfile.SoundFileError as error:
        # Its text would name the address of a buffer.
        detail = getattr(error, "error_string", error)
        raise BadRow(Reason.UNDECODABLE, f"{name}: {detail}") from None
    except OSError as error:
        if not storage.is_absence(error):
            raise
        raise BadRow(Reason.MISSING_AUDIO, f"{name}: {error.strerror or error}") from None
    except storage.TooLargeError as error:
        raise BadRow(Reason.UNDECODABLE, str(error)) from None
    except ValueError as error:  # a path with a null byte, a protocol that is not for corpora
        raise BadRow(Reason.MISSING_AUDIO, f"{name!r}: {error}") from None


def _whole(source: str | bytes, *, name: str, stored: Stored | None) -> Clipped:
    if isinstance(source, str):
        audio = storage.read_bytes(source, limit=MAX_FILE_BYTES)
        return Clipped(audio, Stored(file=source, start=0, stop=len(audio)))
    if len(source) > MAX_FILE_BYTES:
        raise storage.TooLargeError(f"{name}: {len(source):,} bytes, limit {MAX_FILE_BYTES:,}")
    return Clipped(source, stored)


@contextmanager
def _opened(source: str | bytes) -> Iterator[soundfile.SoundFile]:
    if isinstance(source, bytes):
        with soundfile.SoundFile(io.BytesIO(source)) as recording:
            yield recording
        return
    with storage.open_file(source) as file, soundfile.SoundFile(file) as recording:
        yield recording


def _check_channel(recording: soundfile.SoundFile, channel: int | None) -> None:
    if channel is not None and not 0 <= channel < recording.channels:
        raise BadRow(
            Reason.WRONG_CHANNELS, f"channel {channel} is wanted of {recording.channels} (counted from 0)"
        )


def _part(recording: soundfile.SoundFile, *, start: int, num_frames: int, channel: int | None) -> bytes:
    if num_frames * recording.channels > _MAX_SEGMENT_SAMPLES:
        raise BadRow(Reason.DURATION_RANGE, f"{num_frames / recording.samplerate:.0f} s are too long to cut")
    samples = _samples(recording, start=min(start, recording.frames), num_frames=num_frames)
    announced = min(num_frames, max(recording.frames - start, 0))
    if len(samples) < announced:
        raise BadRow(Reason.TRUNCATED, f"{len(samples):,} of {announced:,} announced samples")
    return encode_flac(samples if channel is None else samples[:, channel], sample_rate=recording.samplerate)


def _stretch(
    recording: soundfile.SoundFile, *, offset_s: float | None, duration_s: float | None
) -> tuple[int, int]:
    """Return first frame and number of frames."""
    if offset_s is None:
        return 0, int(recording.frames)
    duration_s = recording.frames / recording.samplerate - offset_s if duration_s is None else duration_s
    if not (math.isfinite(offset_s) and offset_s >= 0 and 0 < duration_s < math.inf):
        raise BadRow(Reason.DURATION_RANGE, f"offset {offset_s} s, duration {duration_s} s")
    return round(offset_s * recording.samplerate), round(duration_s * recording.samplerate)


def _samples(recording: soundfile.SoundFile, *, start: int, num_frames: int) -> npt.NDArray[np.int16]:
    """Decode a stretch to int16 [N, channels]."""
    recording.seek(start)
    if recording.subtype == "PCM_16":
        return np.asarray(recording.read(num_frames, dtype="int16", always_2d=True), dtype=np.int16)
    # libsndfile does not scale float files when asked for integers: all samples would be zero.
    samples = recording.read(num_frames, dtype="float32", always_2d=True)
    return float_to_pcm16(samples)


def float_to_pcm16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Round samples on a scale of one; raise `BadRow` for those that are no numbers."""
    if not np.isfinite(samples).all():
        raise BadRow(Reason.NON_FINITE, f"{np.count_nonzero(~np.isfinite(samples)):,} samples")
    return to_pcm16(samples)
