"""Lhotse CutSets as JSONL or JSONL.gz: each supervision of a cut is one utterance.

The locale is the custom field `target_lang` of supervision or cut, else the language of the supervision,
else the custom field `lang` or `locale`. Custom fields `source` and `prompt_mode` are taken as in NeMo's
manifests. Relative paths of recordings start at the folder of the manifest. The id is that of the cut,
with that of the supervision behind it where there are several.

Nothing in a manifest is executed, see `lhotse_audio`. Features are not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from asr_ray.data import storage
from asr_ray.data.corpus.content import BadRow, Fields, Speech, content_of, number, optional, parse_json
from asr_ray.data.corpus.lhotse_audio import Load, check_sources, file_of, stretch_of
from asr_ray.data.corpus.lines import Line, read_lines, split_lines
from asr_ray.data.corpus.nemo_manifest import no_match
from asr_ray.data.corpus.span import Place, Row, Span
from asr_ray.records import Reason
from asr_ray.settings import CorpusSettings

_CUT_TYPES = ("MonoCut", "MultiCut", "Cut")
_ROUNDING_S = 0.01
"""Durations in manifests are rounded; a supervision may end this much behind its cut."""


def files(corpus: CorpusSettings) -> list[str]:
    """Return the CutSet files behind `corpus.path`, a file or a glob, sorted.

    Raises:
        DataError: there is none.
    """
    if found := storage.find(corpus.path):
        return found
    raise no_match(corpus, what="CutSet")


def split(file: str, *, rows_per_span: int) -> Iterator[Span]:
    """Cut a file into spans of at most `rows_per_span` cuts; larger blocks of a compressed one."""
    return split_lines(file, rows_per_span=rows_per_span)


def read(span: Span, *, corpus: CorpusSettings, wanted: Collection[Place] | None = None) -> Iterator[Row]:
    """Yield every supervision of the span as an utterance with its audio, or as a rejected row."""
    load = partial(file_of, manifest=span.file)
    for line in read_lines(span, wanted=wanted):
        yield from rows_of(line, corpus=corpus, load=load, wanted=wanted)


def rows_of(
    line: Line, *, corpus: CorpusSettings, load: Load, wanted: Collection[Place] | None
) -> Iterator[Row]:
    """Yield the supervisions of one cut; a line that holds none is one rejected row.

    Args:
        load: called with a source of the cut's recording and, as `cut_id`, the id of the cut.
    """
    for part in range(_num_supervisions(line)):
        if wanted is not None and (line.number, part) not in wanted:
            continue
        content = content_of(
            origin=f"{line.span.file}:{line.number}",
            corpus=corpus,
            fields=partial(_fields, line, part=part),
            speech=partial(_speech, file=line.span.file, corpus=corpus, load=load),
        )
        yield Row(span=line.span, line=line.number, part=part, content=content)


def _num_supervisions(line: Line) -> int:
    try:
        supervisions = parse_json(line.content, is_first=line.number == 1).get("supervisions")
    except BadRow:
        return 1  # read again and rejected
    return max(len(supervisions), 1) if isinstance(supervisions, list) else 1


def _fields(line: Line, *, part: int) -> Fields:
    """Return the fields of a supervision under the names of `content`, with its cut."""
    cut = parse_json(line.content, is_first=line.number == 1)
    supervisions = cut.get("supervisions")
    if not isinstance(supervisions, list) or not supervisions:
        raise BadRow(Reason.MISSING_FIELD, "a cut without supervision")
    said = _mapping(supervisions[part])
    own, of_cut = _mapping(said.get("custom")), _mapping(cut.get("custom"))
    custom = {**of_cut, **own}
    cut_id, own_id = optional(cut, "id") or "", optional(said, "id") or str(part)
    return {
        "id": f"{cut_id}-{own_id}" if len(supervisions) > 1 else cut_id or own_id,
        "text": said.get("text"),
        "locale": optional(custom, "target_lang")
        or optional(said, "language")
        or optional(custom, "lang", "locale"),
        "speaker": said.get("speaker"),
        "source": custom.get("source"),
        "prompt_mode": custom.get("prompt_mode"),
        "duration": said.get("duration"),
        "start": said.get("start"),
        "cut": cut,
    }


def _speech(fields: Fields, *, file: str, corpus: CorpusSettings, load: Load) -> Speech:
    cut: Mapping[str, Any] = fields["cut"]
    check_sources(cut)
    if cut.get("type", "MonoCut") not in _CUT_TYPES or not isinstance(cut.get("recording"), dict):
        kind = cut.get("type", "cut")
        raise BadRow(Reason.MISSING_AUDIO, f"a {kind} without a recording of its own; save its audio first")
    offset_s, duration_s = _stretch(fields, cut=cut)
    channel = cut.get("channel")
    audio, stored = stretch_of(
        cut["recording"],
        offset_s=offset_s,
        duration_s=duration_s,
        # A cut of one channel names it; of several the corpus settings choose.
        channel=channel if isinstance(channel, int) else corpus.channel,
        load=partial(load, cut_id=optional(cut, "id") or ""),
    )
    place = (storage.stem(file), str(fields["id"]))
    return Speech(audio=audio, name=storage.stem(file), place=place, stored=stored)


def _stretch(fields: Fields, *, cut: Mapping[str, Any]) -> tuple[float, float]:
    """Return offset and duration of a supervision in the recording, in seconds."""
    start_s, duration_s = number(fields, "start"), number(fields, "duration")
    cut_start_s, cut_duration_s = number(cut, "start"), number(cut, "duration")
    if start_s is None or duration_s is None or cut_start_s is None or cut_duration_s is None:
        raise BadRow(Reason.MISSING_FIELD, "no number under `start` or `duration` of cut or supervision")
    # `not <=` so that a NaN fails too.
    if not start_s >= -_ROUNDING_S or not start_s + duration_s <= cut_duration_s + _ROUNDING_S:
        raise BadRow(
            Reason.DURATION_RANGE,
            f"speech from {start_s} s for {duration_s} s in a cut of {cut_duration_s} s",
        )
    return max(cut_start_s + start_s, 0.0), duration_s


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
