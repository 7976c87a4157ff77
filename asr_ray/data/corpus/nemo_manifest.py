"""NeMo JSONL manifests: one JSON object per line, audio in files beside it.

Fields: `audio_filepath` (relative to the manifest, or absolute), `duration`, `text`, `target_lang` or
`lang`; optional `offset`, `id`, `speaker`, `prompt_mode`, `source`, `sampling_rate` or `sample_rate`. The
file is read as bytes, line by line, so that one damaged line is one rejected row and the lines behind it
are still read.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import soundfile

from asr_ray.data.audio import encode_flac
from asr_ray.data.corpus.span import Row, Span
from asr_ray.errors import DataError
from asr_ray.records import PromptMode, Reason, Rejected, Utterance
from asr_ray.settings import CorpusSettings

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_FILE_BYTES = 64 * 2**20
_MAX_SEGMENT_SAMPLES = 32 * 2**20
_PROMPT_MODES: tuple[str, ...] = get_args(PromptMode)


class _BadRow(Exception):
    """A row that cannot become an utterance; stays inside this module."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def files(corpus: CorpusSettings) -> list[Path]:
    """Return the manifests behind `corpus.path`, a file or a glob, sorted.

    Raises:
        DataError: there is none.
    """
    # `Path.glob` takes no absolute pattern.
    names = glob.glob(corpus.path, recursive=True)  # noqa: PTH207
    found = sorted(path for path in map(Path, names) if path.is_file())
    if not found:
        raise DataError(
            f"corpus {corpus.source!r}: no manifest matches {corpus.path}",
            fix="check the path or the glob (relative paths start where the command runs)",
        )
    return found


def split(file: Path, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a manifest into spans of at most `rows_per_span` lines."""
    start, position, first_row, number = 0, 0, 1, 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            position += len(line)
            if number - first_row + 1 == rows_per_span:
                yield Span(file=file, start=start, stop=position, first_row=first_row)
                start, first_row = position, number + 1
    if position > start:
        yield Span(file=file, start=start, stop=position, first_row=first_row)


def read(span: Span, *, corpus: CorpusSettings) -> Iterator[Row]:
    """Yield every line of the span as an utterance with its audio, or as a rejected row."""
    with span.file.open("rb") as file:
        file.seek(span.start)
        lines = io.BytesIO(file.read(span.stop - span.start))
    position = span.start
    for number, line in enumerate(lines, span.first_row):
        alone = Span(file=span.file, start=position, stop=position + len(line), first_row=number)
        position += len(line)
        yield Row(span=alone, content=_read_line(line, span=alone, corpus=corpus))


def _read_line(line: bytes, *, span: Span, corpus: CorpusSettings) -> Utterance | Rejected:
    origin = f"{span.file}:{span.first_row}"
    fields: Mapping[str, Any] = {}
    try:
        fields = _parse(line, is_first=span.start == 0)
        return _utterance(fields, manifest=span.file, origin=origin, corpus=corpus)
    except _BadRow as bad:
        return Rejected(
            origin=origin,
            reason=bad.reason,
            detail=bad.detail,
            locale=_locale(fields, corpus),
            source=_optional(fields, "source") or corpus.source,
            utterance_id=_optional(fields, "id") or "",
            duration_s=_number(fields, "duration") or 0.0,
        )


def _parse(line: bytes, *, is_first: bool) -> Mapping[str, Any]:
    """Decode one line; editors on Windows put a byte order mark before the first one."""
    line = line.removeprefix(_BYTE_ORDER_MARK) if is_first else line
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _BadRow(Reason.BAD_ENCODING, f"not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of thousands of digits
        detail = str(error) if text.strip() else "blank line"
        raise _BadRow(Reason.BAD_JSON, detail) from None
    if not isinstance(fields, dict):
        raise _BadRow(Reason.BAD_JSON, f"a {type(fields).__name__}, not an object")
    if "\\ud" in text.lower() and not _is_encodable(fields):
        raise _BadRow(Reason.BAD_ENCODING, "an escaped half of a surrogate pair")
    return fields


def _is_encodable(fields: Mapping[str, Any]) -> bool:
    """Whether all strings can be written as UTF-8; JSON can escape code points that cannot."""
    try:
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _utterance(
    fields: Mapping[str, Any], *, manifest: Path, origin: str, corpus: CorpusSettings
) -> Utterance:
    audio_filepath = _required(fields, "audio_filepath")
    duration_s = _number(fields, "duration")
    if duration_s is None:
        raise _BadRow(Reason.MISSING_FIELD, "no number under `duration`")
    locale = _locale(fields, corpus)
    if not locale:
        raise _BadRow(Reason.MISSING_FIELD, "no `target_lang` or `lang`, and the corpus names no locale")
    text = _required(fields, "text")
    source = _optional(fields, "source") or corpus.source
    offset_s = _number(fields, "offset")
    return Utterance(
        id=_optional(fields, "id")
        or _derived_id(manifest, audio_filepath, offset_s, locale=locale, source=source),
        audio=_load(manifest.parent / audio_filepath, offset_s=offset_s, duration_s=duration_s),
        duration_s=duration_s,
        text=text.strip(),
        locale=locale,
        source=source,
        origin=origin,
        speaker=_optional(fields, "speaker"),
        prompt_mode=_prompt_mode(fields),
        sampling_rate=_number(fields, "sampling_rate") or _number(fields, "sample_rate"),
    )


def _required(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise _BadRow(Reason.MISSING_FIELD, f"no string under `{key}`")
    return value


def _optional(fields: Mapping[str, Any], key: str) -> str | None:
    """A string or number as text; corpora number their speakers as often as they name them."""
    value = fields.get(key)
    return (
        str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "" else None
    )


def _number(fields: Mapping[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _locale(fields: Mapping[str, Any], corpus: CorpusSettings) -> str:
    return _optional(fields, "target_lang") or _optional(fields, "lang") or corpus.locale or ""


def _prompt_mode(fields: Mapping[str, Any]) -> PromptMode | None:
    mode = _optional(fields, "prompt_mode")
    if mode is not None and mode not in _PROMPT_MODES:
        raise _BadRow(Reason.MISSING_FIELD, f"prompt_mode {mode!r} is none of {', '.join(_PROMPT_MODES)}")
    return mode  # type: ignore[return-value]  # narrowed by membership


def _derived_id(
    manifest: Path, audio_filepath: str, offset_s: float | None, *, locale: str, source: str
) -> str:
    """File name for people, hash for uniqueness; the same wherever the corpus folder stands."""
    path = Path(audio_filepath)
    if path.is_absolute() and path.is_relative_to(manifest.parent):
        path = path.relative_to(manifest.parent)
    key = "\0".join((source, locale, manifest.stem, path.as_posix(), str(offset_s or 0.0)))
    return f"{path.stem}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"


def _load(path: Path, *, offset_s: float | None, duration_s: float) -> bytes:
    try:
        if offset_s is not None:
            return _segment(path, offset_s=offset_s, duration_s=duration_s)
        return _whole(path)
    except OSError as error:
        raise _BadRow(Reason.MISSING_AUDIO, f"{path}: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null byte
        raise _BadRow(Reason.MISSING_AUDIO, f"{str(path)!r}: {error}") from None


def _whole(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise _BadRow(Reason.UNDECODABLE, f"{path}: {size:,} bytes, limit {_MAX_FILE_BYTES:,}")
    return path.read_bytes()


def _segment(path: Path, *, offset_s: float, duration_s: float) -> bytes:
    """Cut [offset, offset + duration] out of a long recording, as FLAC; a whole file stays as it is."""
    path.stat()  # libsndfile says "system error" where the operating system knows the cause
    if not (math.isfinite(offset_s) and offset_s >= 0 and 0 < duration_s < math.inf):
        raise _BadRow(Reason.DURATION_RANGE, f"offset {offset_s} s, duration {duration_s} s")
    try:
        with soundfile.SoundFile(path) as recording:
            rate = recording.samplerate
            start, num_frames = round(offset_s * rate), round(duration_s * rate)
            if start == 0 and num_frames >= recording.frames:
                return _whole(path)
            if num_frames * recording.channels > _MAX_SEGMENT_SAMPLES:
                raise _BadRow(Reason.DURATION_RANGE, f"a segment of {duration_s} s is too long to cut")
            recording.seek(min(start, recording.frames))
            return encode_flac(recording.read(num_frames, dtype="int16"), sample_rate=rate)
    except soundfile.SoundFileError as error:
        raise _BadRow(Reason.UNDECODABLE, f"{path}: {error}") from None
