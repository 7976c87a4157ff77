"""Audio of Lhotse recordings; nothing that a manifest says is executed.

A recording may name a shell command as its source, and Lhotse starts helper programs for some file names
(`.opus`, `.sph`). So a cut with a command or a pipe anywhere in it is refused, files are read by
`asr_ray.data.storage`, and Lhotse, which applies transforms and joins sources, gets their bytes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from asr_ray.data import storage
from asr_ray.data.audio import encode_flac
from asr_ray.data.corpus.clip import Clipped, clip, float_to_pcm16
from asr_ray.data.corpus.content import BadRow, number
from asr_ray.records import Reason, Stored

_SOURCE_TYPES = ("file", "url", "memory", "shar")
_ROUNDING_S = 0.01
Load = Callable[..., tuple[str | bytes, Stored | None]]
"""Source of a recording -> its path, or its content and where that stands."""

_MAX_DURATION_S = 3600.0


def check_sources(cut: Mapping[str, Any]) -> None:
    """Raise `BadRow` for a cut that could make a reader run a program."""
    for each in _nested(cut):
        if isinstance(each, str) and each.startswith("pipe:"):
            raise BadRow(Reason.UNSAFE_SOURCE, "a pipe, which would run a command")
        sources = each.get("sources") if isinstance(each, dict) else None
        for source in sources if isinstance(sources, list) else ():
            kind = source.get("type") if isinstance(source, dict) else None
            if kind not in _SOURCE_TYPES:
                raise BadRow(Reason.UNSAFE_SOURCE, f"a source of type {kind!r}")
    recording = cut.get("recording")
    transforms = recording.get("transforms") if isinstance(recording, dict) else None
    if any(isinstance(each, dict) and "sources" in each for each in _nested(transforms)):
        raise BadRow(Reason.UNSAFE_SOURCE, "a transform that reads another file; save the audio first")


def _nested(value: object) -> Iterator[object]:
    """Yield a value and all that it holds."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def file_of(source: Mapping[str, Any], *, manifest: str, cut_id: str) -> tuple[str, None]:
    """Return the path of a source that is a file beside the manifest or a URL."""
    path = source.get("source")
    if source.get("type") not in ("file", "url") or not isinstance(path, str):
        raise BadRow(
            Reason.MISSING_AUDIO, f"cut {cut_id}: a source of type {source.get('type')!r} has no file"
        )
    return storage.join(manifest, path), None


def stretch_of(
    recording: Mapping[str, Any],
    *,
    offset_s: float,
    duration_s: float,
    channel: int | None,
    load: Load,
) -> Clipped:
    """Return a stretch of a recording; the file as found where it is wanted whole.

    Args:
        recording: as in the manifest, checked by `check_sources`.
        offset_s, duration_s: the stretch, in seconds.
        channel: the one to take, by its number in the recording.
        load: returns the path or the content of a source.

    Raises:
        BadRow: it cannot be read.
    """
    sources = [source for source in recording.get("sources") or () if isinstance(source, dict)]
    if not sources:
        raise BadRow(Reason.MISSING_AUDIO, "a recording without source")
    if len(sources) > 1 or recording.get("transforms"):
        audio = _by_lhotse(
            recording, sources, offset_s=offset_s, duration_s=duration_s, channel=channel, load=load
        )
        return Clipped(audio, None)
    channels = sources[0].get("channels")
    if channel is not None and isinstance(channels, list):
        if channel not in channels:
            raise BadRow(Reason.WRONG_CHANNELS, f"channel {channel} is wanted of {channels}")
        # A file of a single channel is kept as it is, should it be one.
        channel = channels.index(channel) if len(channels) > 1 else None
    is_whole = (
        offset_s <= _ROUNDING_S
        and offset_s + duration_s >= (number(recording, "duration") or float("inf")) - _ROUNDING_S
    )
    source, stored = load(sources[0])
    return clip(
        source,
        name="recording",
        stored=stored,
        offset_s=None if is_whole else offset_s,
        duration_s=None if is_whole else duration_s,
        channel=channel,
    )


def _by_lhotse(
    recording: Mapping[str, Any],
    sources: list[dict[str, Any]],
    *,
    offset_s: float,
    duration_s: float,
    channel: int | None,
    load: Load,
) -> bytes:
    from lhotse import Recording
    from lhotse.audio.utils import AudioLoadingError, DurationMismatchError

    if not 0 < duration_s <= _MAX_DURATION_S:
        raise BadRow(Reason.DURATION_RANGE, f"a segment of {duration_s} s")
    held = [
        source | {"type": "memory", "source": clip(load(source)[0], name="recording").audio}
        for source in sources
    ]
    try:
        whole = Recording.from_dict({**recording, "sources": held})
        samples = whole.load_audio(channels=channel, offset=offset_s, duration=duration_s)
        sample_rate = int(whole.sampling_rate)
    except (
        *(AudioLoadingError, DurationMismatchError, AssertionError, ValueError),
        *(TypeError, KeyError, RuntimeError, OSError, ImportError),
    ) as error:
        # Transforms come from the manifest, and each has errors of its own.
        raise BadRow(Reason.UNDECODABLE, f"{type(error).__name__}: {error}"[:300]) from None
    return encode_flac(float_to_pcm16(np.asarray(samples, dtype=np.float32).T), sample_rate=sample_rate)
