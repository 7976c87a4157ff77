"""From the fields of a row, whatever its format calls them, to an utterance or a reason to reject it.

A reader translates its own names to these: `id`, `text`, `locale`, `source`, `speaker`, `prompt_mode`,
`duration` (seconds), `sampling_rate` or `sample_rate` (Hz). Only `text` must be there; a missing duration
is measured on the audio.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import soundfile

from asr_ray.data.audio import read_header
from asr_ray.locales import PromptMode
from asr_ray.records import Reason, Rejected, Stored, Utterance
from asr_ray.settings import CorpusSettings

Fields = Mapping[str, Any]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PROMPT_MODES: tuple[str, ...] = get_args(PromptMode)


class BadRow(Exception):
    """A row that cannot become an utterance; stays inside this package."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """The audio of a row and what its id is made of where the corpus gives none.

    Attributes:
        audio: encoded file content.
        name: for people; begins the id.
        stored: where the audio stands in these bytes, None if it was cut or converted.
        place: unique inside (source, locale) and the same wherever the corpus folder stands.
    """

    audio: bytes
    name: str
    place: tuple[str, ...]
    stored: Stored | None


def content_of(
    *,
    origin: str,
    corpus: CorpusSettings,
    fields: Callable[[], Fields],
    speech: Callable[[Fields], Speech],
) -> Utterance | Rejected:
    """Return a row as an utterance, or as rejected with everything that could be read of it.

    Args:
        origin: where the row stands, for messages.
        corpus: names the source, and the locale of rows without one.
        fields: reads the row; may raise `BadRow`.
        speech: reads the audio, after the fields were found good; may raise `BadRow`.
    """
    found: Fields = {}
    try:
        found = fields()
        return _utterance(found, origin=origin, corpus=corpus, speech=speech)
    except BadRow as bad:
        return Rejected(
            origin=origin,
            reason=bad.reason,
            detail=bad.detail,
            locale=_locale(found, corpus),
            source=_source(found, corpus),
            utterance_id=optional(found, "id") or "",
            duration_s=number(found, "duration") or 0.0,
        )


def _utterance(
    fields: Fields, *, origin: str, corpus: CorpusSettings, speech: Callable[[Fields], Speech]
) -> Utterance:
    locale, source = _locale(fields, corpus), _source(fields, corpus)
    if not locale:
        raise BadRow(Reason.MISSING_FIELD, "no locale in the row, and the corpus names none")
    text, prompt_mode, duration_s = required(fields, "text"), _prompt_mode(fields), number(fields, "duration")
    spoken = speech(fields)
    return Utterance(
        id=optional(fields, "id") or _derived_id(spoken, locale=locale, source=source),
        audio=spoken.audio,
        duration_s=_measured_s(spoken.audio) if duration_s is None else duration_s,
        text=text.strip(),
        locale=locale,
        source=source,
        origin=origin,
        speaker=optional(fields, "speaker"),
        prompt_mode=prompt_mode,
        stored=spoken.stored,
        sampling_rate=number(fields, "sampling_rate") or number(fields, "sample_rate"),
    )


def required(fields: Fields, key: str) -> str:
    """Return a string, or raise `BadRow`."""
    value = fields.get(key)
    if not isinstance(value, str):
        raise BadRow(Reason.MISSING_FIELD, f"no string under `{key}`")
    return value


def optional(fields: Fields, *keys: str) -> str | None:
    """Return the first of some fields that holds anything, as text.

    Numbers count: corpora number their speakers as often as they name them.
    """
    for key in keys:
        value = fields.get(key)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def number(fields: Fields, key: str) -> float | None:
    """Return a number, None for anything else."""
    value = fields.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def parse_json(line: bytes, *, is_first: bool = False) -> dict[str, Any]:
    """Decode a line that holds one JSON object, or raise `BadRow`.

    Args:
        line: as found.
        is_first: editors on Windows put a byte order mark before the first one.
    """
    text = decode_line(line, is_first=is_first)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of thousands of digits
        detail = str(error) if text.strip() else "blank line"
        raise BadRow(Reason.BAD_JSON, detail) from None
    if not isinstance(fields, dict):
        raise BadRow(Reason.BAD_JSON, f"a {type(fields).__name__}, not an object")
    if "\\ud" in text.lower() and not _is_encodable(fields):
        raise BadRow(Reason.BAD_ENCODING, "an escaped half of a surrogate pair")
    return fields


def decode_line(line: bytes, *, is_first: bool = False) -> str:
    """Return a line as text, or raise `BadRow`."""
    line = line.removeprefix(_BYTE_ORDER_MARK) if is_first else line
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow(Reason.BAD_ENCODING, f"not UTF-8: {error.reason} at byte {error.start}") from None


def _is_encodable(fields: Fields) -> bool:
    """Whether all strings can be written as UTF-8; JSON can escape code points that cannot."""
    try:
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _locale(fields: Fields, corpus: CorpusSettings) -> str:
    return optional(fields, "locale") or corpus.locale or ""


def _source(fields: Fields, corpus: CorpusSettings) -> str:
    return optional(fields, "source") or corpus.source


def _prompt_mode(fields: Fields) -> PromptMode | None:
    mode = optional(fields, "prompt_mode")
    if mode is not None and mode not in _PROMPT_MODES:
        raise BadRow(Reason.MISSING_FIELD, f"prompt_mode {mode!r} is none of {', '.join(_PROMPT_MODES)}")
    return mode  # type: ignore[return-value]  # narrowed by membership


def _derived_id(speech: Speech, *, locale: str, source: str) -> str:
    """Name for people, hash for uniqueness."""
    key = "\0".join((source, locale, *speech.place))
    return f"{speech.name}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"


def _measured_s(audio: bytes) -> float:
    try:
        return read_header(audio).duration_s
    except soundfile.SoundFileError:
        return 0.0  # the check of the audio says what is wrong with it
