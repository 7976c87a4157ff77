"""Speech inside a report: the worst utterances as Opus, up to a size, so that one file is all there is."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import soundfile

from asr_ray.data.audio import decode_pcm16
from asr_ray.data.read import read_utterances
from asr_ray.errors import DataError
from asr_ray.evaluate.testsets import TestSet
from asr_ray.records import SAMPLE_RATE

_DATA_URI = "data:audio/ogg;base64,"


def clips_of(ids: Iterable[str], *, test_set: TestSet, max_bytes: int) -> dict[str, str]:
    """Return id -> data URI for as many utterances, in the order given, as fit into `max_bytes` of URIs.

    libsndfile's default for speech at 16 kHz is some 25 kbit/s: 4 kB for a second. None at all where the
    audio is no longer there: what was decoded once can be scored without it.
    """
    clips: dict[str, str] = {}
    left = max_bytes
    for name in dict.fromkeys(ids):
        if left <= len(_DATA_URI):
            break
        try:
            [utterance] = read_utterances(test_set.root, test_set.addresses(test_set.rows_of([name])))
        except DataError:
            return {}
        clip = _as_data_uri(utterance.audio)
        if len(clip) > left:
            break
        clips[name] = clip
        left -= len(clip)
    return clips


def _as_data_uri(audio: bytes) -> str:
    opus = io.BytesIO()
    soundfile.write(opus, decode_pcm16(audio), SAMPLE_RATE, format="OGG", subtype="OPUS")
    return _DATA_URI + base64.b64encode(opus.getvalue()).decode("ascii")
