"""What travels between the packages: utterances, batches, prompts, positions.

Only frozen dataclasses over plain values and NumPy arrays, so that `data` and `model` can share
them without knowing each other, and so that nothing here imports Ray, torch or NeMo.

Shape letters: B utterances of a batch, N audio samples, U tokens of a transcript.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asr_ray.locales import PromptMode

SAMPLE_RATE = 16_000
"""Samples per second of everything after preparation (the model's preprocessor expects it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where encoded audio already stands, as a whole file that could be used from there.

    Attributes:
        file: path from the root, or URL.
        start, stop: its bytes in the file, stop not included; with `column`, row and row after it.
        column: of a Parquet file that holds it.
    """

    file: str
    start: int
    stop: int
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One piece of speech with its transcript, as a corpus reader yields it.

    Attributes:
        id: unique within a corpus.
        audio: encoded file content (FLAC, WAV, OGG, MP3), exactly as found.
        duration_s: what the corpus claims; preparation checks it against the audio.
        text: transcript, cased and punctuated as the model shall write it.
        locale: BCP-47 tag such as `el-GR`.
        source: name of the corpus, the second key of a mix.
        origin: where the row stands (`manifest.jsonl:12`), for messages.
        stored: where `audio` stands in exactly these bytes, if it does.
        sampling_rate: in Hz, where the corpus claims one; checked like the duration.
    """

    id: str
    audio: bytes
    duration_s: float
    text: str
    locale: str
    source: str
    origin: str
    speaker: str | None = None
    prompt_mode: PromptMode | None = None
    stored: Stored | None = None
    sampling_rate: float | None = None


class Reason(enum.StrEnum):
    """Why a row was put aside; the value is the code in `quarantine.parquet`."""

    BAD_JSON = "bad-json"
    BAD_ENCODING = "bad-encoding"
    MISSING_FIELD = "missing-field"
    MISSING_AUDIO = "missing-audio"
    UNSAFE_SOURCE = "unsafe-source"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    AUDIO_CHECKSUM = "audio-checksum"
    SAMPLING_RATE_MISMATCH = "sampling-rate-mismatch"
    WRONG_CHANNELS = "wrong-channels"
    NON_FINITE = "non-finite-samples"
    SILENCE = "silence-with-text"
    DURATION_MISMATCH = "duration-mismatch"
    DURATION_RANGE = "duration-out-of-range"
    UNKNOWN_LOCALE = "unknown-locale"
    EMPTY_TEXT = "empty-text"
    MOJIBAKE = "mojibake"
    CONTROL_CHARACTERS = "control-characters"
    WRONG_SCRIPT = "wrong-script"
    CHARACTER_RATE = "characters-per-second"
    UNKNOWN_TOKENS = "unknown-tokens"
    DUPLICATE_ID = "duplicate-id"
    DUPLICATE_AUDIO = "duplicate-audio"
    IN_HELD_OUT_AUDIO = "in-held-out-audio"
    IN_HELD_OUT_TEXT = "in-held-out-text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """One row that cannot be trained on, with everything known about it.

    Attributes:
        origin: `file:line` or `file` of the row.
        detail: the observation in words ("header says 8000 Hz, manifest 16000").
        locale: as written in the corpus; "" when it could not be read.
        duration_s: as claimed; 0.0 when it could not be read.
    """

    origin: str
    reason: Reason
    detail: str
    locale: str = ""
    source: str = ""
    utterance_id: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTable:
    """Locale -> slot of the one-hot language prompt, read from the checkpoint itself.

    Attributes:
        slots: every key of the checkpoint's dictionary, aliases included.
        num_slots: width of the one-hot vector (128 in the released model).
    """

    slots: Mapping[str, int]
    num_slots: int

    @property
    def auto_slot(self) -> int:
        """Slot that lets the model detect the language itself."""
        return self.slots["auto"]


class Tokenizer(Protocol):
    """Text -> token ids; picklable, so that Ray tasks can carry it."""

    @property
    def vocabulary_size(self) -> int:
        """Number of pieces; the blank of the transducer is this id."""
        ...

    @property
    def unknown_id(self) -> int:
        """Id of the piece that stands for characters outside the vocabulary."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of the tokenizer file; catalogs remember it with their token counts."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One rank's share of a step, padded once.

    Attributes:
        audio: int16 [B, N], zeros after each utterance's end. Divide by 32768 for the model.
        num_samples: int64 [B].
        tokens: int64 [B, U], padded with 0.
        num_tokens: int64 [B].
        prompt_slots: int64 [B].
        ids, locales, sources: B strings each.
        durations_s: float64 [B], before augmentation; what the ledger counts.
        position: the step of the plan that this batch belongs to.
        next_position: where the plan goes on once this step is committed.
    """

    audio: npt.NDArray[np.int16]
    num_samples: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    num_tokens: npt.NDArray[np.int64]
    prompt_slots: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    locales: tuple[str, ...]
    sources: tuple[str, ...]
    durations_s: npt.NDArray[np.float64]
    position: Position
    next_position: Position

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def audio_s(self) -> float:
        """Seconds of speech, padding not counted."""
        return float(self.durations_s.sum())


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far the data has been consumed: every step before this one is in the weights.

    Attributes:
        epoch: windows are counted in epochs of the plan; it goes into every seed.
        window: index of the window inside the epoch.
        step: steps already taken of this window, in its newest cut into batches.
        earlier: (world size, steps taken) of cuts of this same window that an earlier
            world size began; the rows they used are out of the newest cut.
    """

    epoch: int = 0
    window: int = 0
    step: int = 0
    earlier: tuple[tuple[int, int], ...] = field(default=())
    mixes: tuple[tuple[int, str], ...] = field(default=(), compare=False)
