"""Speech that is there twice: inside a corpus, or in training and in what is held out to judge it.

All on columns of metadata and of hashes, see `fingerprints`; no audio is read. Rows are marked with a reason
in the survey, or only counted: synthetic speech and recorded commands say the same words often, on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from asr_ray.data.checks.fingerprints import HeldOut
from asr_ray.data.checks.survey import CorpusFile, mark, origin_of
from asr_ray.records import Reason
from asr_ray.settings import CheckSettings

_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedText:
    """Words that many rows of a locale and source say.

    Attributes:
        rows: how many do.
        text: as the first of them writes it; "" when it was not looked up.
    """

    locale: str
    source: str
    rows: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """What accepted rows share with each other and with held-out speech. Nothing counted here is rejected.

    Attributes:
        same_audio_rows: rows whose audio an earlier one has.
        held_out_audio_rows: rows whose audio is held out.
        held_out_text_rows: rows whose words held-out speech of their locale says too.
        repeated_texts: texts in more than `max_text_repeats` rows of a locale and source.
        repeated_rows: the rows of these texts.
        most_repeated: some of them, the most frequent first.
    """

    same_audio_rows: int = 0
    held_out_audio_rows: int = 0
    held_out_text_rows: int = 0
    repeated_texts: int = 0
    repeated_rows: int = 0
    most_repeated: tuple[RepeatedText, ...] = field(default=())


def reject_overlaps(
    table: pa.Table, *, files: Sequence[CorpusFile], held_out: HeldOut, checks: CheckSettings
) -> pa.Table:
    """Return the survey, passed rows marked that are there already or held out.

    Audio that is held out is always rejected; repeated audio and held-out words as `checks` says. Of rows
    with the same audio the first one stays.

    Args:
        table: columns of `survey.SURVEY_SCHEMA`, in corpus order.
        files: what `file` of the survey counts.
        held_out: from `fingerprints.read_held_out`.
        checks: whether to reject or to count.
    """
    table = _reject_held_out(table, "audio_hash", held_out.audio, reason=Reason.IN_HELD_OUT_AUDIO)
    if checks.held_out_text == "reject":
        table = _reject_held_out(table, "text_hash", held_out.text, reason=Reason.IN_HELD_OUT_TEXT)
    return _reject_same_audio(table, files=files) if checks.same_audio == "reject" else table


def _passed(table: pa.Table) -> npt.NDArray[np.int64]:
    rows: npt.NDArray[np.int64] = np.flatnonzero(pc.is_null(table["reason"]).to_numpy())
    return rows


def _reject_held_out(
    table: pa.Table, column: str, hashes: npt.NDArray[np.uint64], *, reason: Reason
) -> pa.Table:
    passed = _passed(table)
    rows = passed[np.isin(table[column].take(passed).to_numpy(), hashes)]
    what = "audio" if column == "audio_hash" else "words"
    return mark(table, rows, details=[f"the same {what} as a held-out utterance"] * len(rows), reason=reason)


def _reject_same_audio(table: pa.Table, *, files: Sequence[CorpusFile]) -> pa.Table:
    passed = _passed(table)
    later, first = _later_of_equal(table["audio_hash"].take(passed).to_numpy())
    rows, firsts = passed[later], passed[first]
    # Rejected rows have none; NumPy would turn a column with nulls into floating point.
    texts = pc.fill_null(table["text_hash"], 0).to_numpy()
    details = [
        f"same audio as {origin_of(table, int(original), files)}"
        + ("" if texts[row] == texts[original] else ", other words")
        for row, original in zip(rows, firsts, strict=True)
    ]
    return mark(table, rows, details=details, reason=Reason.DUPLICATE_AUDIO)


def _later_of_equal(
    values: npt.NDArray[np.uint64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of values [N] seen before, rising, and for each the first place of its value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    first_of_place = first[inverse].astype(np.int64)
    later = np.flatnonzero(first_of_place != np.arange(len(values)))
    return later, first_of_place[later]


def find_overlaps(
    table: pa.Table, *, held_out: HeldOut, checks: CheckSettings
) -> tuple[Overlaps, npt.NDArray[np.int64]]:
    """Count what accepted rows share; also return for each of `most_repeated` a row that says it.

    Args:
        table: columns locale, source, audio_hash, text_hash of accepted rows.
        held_out: from `fingerprints.read_held_out`.
        checks: holds `max_text_repeats`.
    """
    audio, text = table["audio_hash"].to_numpy(), table["text_hash"].to_numpy()
    groups = _repeats(table, more_than=checks.max_text_repeats)
    shown = groups.slice(0, _MOST_SHOWN)
    overlaps = Overlaps(
        same_audio_rows=len(_later_of_equal(audio)[0]),
        held_out_audio_rows=int(np.isin(audio, held_out.audio).sum()),
        held_out_text_rows=int(np.isin(text, held_out.text).sum()),
        repeated_texts=groups.num_rows,
        repeated_rows=pc.sum(groups["rows"]).as_py() or 0,
        most_repeated=tuple(
            RepeatedText(locale=each["locale"], source=each["source"], rows=each["rows"])
            for each in shown.to_pylist()
        ),
    )
    return overlaps, shown["first"].to_numpy().astype(np.int64)


def _repeats(table: pa.Table, *, more_than: int) -> pa.Table:
    """Return texts that many rows of a locale and source say: locale, source, rows, first; most first."""
    keys = ["locale", "source", "text_hash"]
    columns = [table["locale"].cast(pa.string()), table["source"].cast(pa.string()), table["text_hash"]]
    numbered = pa.table([*columns, pa.array(np.arange(table.num_rows))], names=[*keys, "row"])
    counted = numbered.group_by(keys).aggregate([("row", "count"), ("row", "min")])
    counted = counted.rename_columns({"row_count": "rows", "row_min": "first"})
    counted = counted.filter(pc.greater(counted["rows"], more_than))
    return counted.sort_by([("rows", "descending"), ("first", "ascending")])
