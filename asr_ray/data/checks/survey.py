"""What a first reading of a corpus finds: one line of metadata per row, no audio.

Preparation reads every row twice. The first reading checks it and keeps only this table, from which
duplicates are found and shards are laid out; the second writes each shard from its rows. So neither the
driver nor the object store ever holds the audio, and the result does not depend on who read what when.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from asr_ray.data import storage
from asr_ray.data.checks.quarantine import Checked, check_utterance
from asr_ray.data.corpus import READERS, Span
from asr_ray.data.shard_file import shard_path
from asr_ray.errors import DataError
from asr_ray.records import Reason, Rejected, Tokenizer, Utterance
from asr_ray.settings import CheckSettings, CorpusSettings

SURVEY_SCHEMA = pa.schema(
    [
        pa.field("file", pa.int32()),
        pa.field("start", pa.int64()),
        pa.field("stop", pa.int64()),
        pa.field("line", pa.int64()),
        pa.field("part", pa.int32()),
        pa.field("block", pa.uint64()),
        pa.field("id", pa.large_string()),
        pa.field("locale", pa.string()),
        pa.field("source", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("num_tokens", pa.int32()),
        pa.field("id_hash", pa.uint64()),
        pa.field("speaker", pa.uint64()),
        pa.field("checksum", pa.uint32()),
        pa.field("num_characters", pa.int32()),
        pa.field("audio_hash", pa.uint64()),
        pa.field("text_hash", pa.uint64()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.large_string()),
    ]
)
"""`file` counts the corpus files of a preparation; `start` and `stop` are the span that reads the row again,
`line` and `part` its place in there; `block` names a span that must be read whole, it is 0 for rows that can
be read alone; `reason` is null for rows that passed; `checksum` is the CRC-32 of the audio as found;
`speaker` is a hash, 0 for nobody; `audio_hash` and `text_hash` are those of `quarantine.Checked`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """A file of rows and the corpus it belongs to."""

    corpus: CorpusSettings
    path: str

    def origin(self, line: int) -> str:
        """Return `file:line` for messages."""
        return f"{self.path}:{line}"


def corpus_files(corpora: Sequence[CorpusSettings]) -> list[CorpusFile]:
    """Return every file of every corpus, in the order of the settings; paths are absolute.

    Tasks may run in another folder than the driver.

    Raises:
        DataError: a corpus has none.
    """
    return [
        CorpusFile(corpus=_from_the_root(corpus), path=path)
        for corpus in corpora
        for path in READERS[corpus.format].files(corpus)
    ]


def _from_the_root(corpus: CorpusSettings) -> CorpusSettings:
    tars = None if corpus.tars is None else storage.absolute(corpus.tars)
    return corpus.model_copy(update={"path": storage.absolute(corpus.path), "tars": tars})


def survey(
    span: Span, *, files: Sequence[CorpusFile], file: int, checks: CheckSettings, tokenizer: Tokenizer
) -> pa.Table:
    """Read and check the rows of one span of `files[file]`; columns as in `SURVEY_SCHEMA`."""
    corpus = files[file].corpus
    lines: list[dict[str, Any]] = []
    for row in READERS[corpus.format].read(span, corpus=corpus):
        content = row.content
        verdict = (
            content
            if isinstance(content, Rejected)
            else check_utterance(content, checks=checks, tokenizer=tokenizer)
        )
        line = {"file": file, "start": row.span.start, "stop": row.span.stop, "line": row.line}
        found = _rejected(verdict) if isinstance(verdict, Rejected) else _checked(verdict)
        lines.append(line | {"part": row.part} | found)
    # By its content: the layout of shards shall not depend on where the corpus stands.
    block = min((line.get("id_hash", 0) for line in lines), default=0) if span.is_block else 0
    return pa.Table.from_pylist([line | {"block": block} for line in lines], schema=SURVEY_SCHEMA)


_FAILURE = "failure"
"""In place of a reason: no verdict on a row, but an error that ends the preparation."""


def failure(error: DataError, *, file: int) -> pa.Table:
    """Return an error as a survey: raised in a task, it would reach the driver inside one of Ray's."""
    told = {"file": file, "reason": _FAILURE, "detail": error.message, "id": error.fix}
    return pa.Table.from_pylist([told], schema=SURVEY_SCHEMA)


def raise_failures(table: pa.Table) -> None:
    """Raise the first error that a survey brought along."""
    failed = table.filter(pc.equal(table["reason"], _FAILURE))
    if failed.num_rows:
        raise DataError(failed["detail"][0].as_py(), fix=failed["id"][0].as_py())


def covered(table: pa.Table) -> int:
    """Return the length of all spans in a survey, each counted once, in the unit of their reader."""
    spans = table.group_by(["file", "start", "stop"]).aggregate([])
    return pc.sum(pc.subtract(spans["stop"], spans["start"])).as_py() or 0


def _rejected(row: Rejected) -> dict[str, object]:
    return {
        "id": row.utterance_id,
        "locale": row.locale,
        "source": row.source,
        "duration_s": row.duration_s,
        "reason": row.reason.value,
        "detail": row.detail,
    }


def _checked(row: Checked) -> dict[str, object]:
    utterance = row.utterance
    return {
        "id": utterance.id,
        "locale": utterance.locale,
        "source": utterance.source,
        "duration_s": utterance.duration_s,
        "num_tokens": row.num_tokens,
        "id_hash": _hash(utterance.id),
        "speaker": _hash(f"{utterance.source}\0{utterance.speaker}") if utterance.speaker else 0,
        "checksum": checksum(utterance),
        "num_characters": row.num_characters,
        "audio_hash": row.audio_hash,
        "text_hash": row.text_hash,
    }


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def checksum(utterance: Utterance) -> int:
    """Return the CRC-32 of the encoded audio."""
    return zlib.crc32(utterance.audio)


def reject_duplicates(table: pa.Table, *, files: Sequence[CorpusFile]) -> pa.Table:
    """Return the survey in corpus order, each passed row with an id seen before marked as duplicate."""
    table = table.sort_by([(key, "ascending") for key in ("file", "start", "line", "part")])
    passed = np.flatnonzero(pc.is_null(table["reason"]).to_numpy())
    ids = pa.table({"id": table["id"].take(passed), "row": passed})
    ids = ids.sort_by([("id", "ascending"), ("row", "ascending")])
    rows = ids["row"].to_numpy()
    repeated = pc.equal(ids["id"][1:], ids["id"][:-1]).to_numpy()
    if not repeated.any():
        return table
    first = rows[np.maximum.accumulate(np.where(np.append(True, ~repeated), np.arange(len(rows)), 0))]
    details = [f"same id as {origin_of(table, int(row), files)}" for row in first[1:][repeated]]
    return mark(table, rows[1:][repeated], details=details, reason=Reason.DUPLICATE_ID)


def origin_of(table: pa.Table, row: int, files: Sequence[CorpusFile]) -> str:
    """Return `file:line` of a row of the survey."""
    file: int = table["file"][row].as_py()
    return files[file].origin(table["line"][row].as_py())


def mark(table: pa.Table, rows: npt.NDArray[np.int64], *, details: Sequence[str], reason: Reason) -> pa.Table:
    """Return the survey with `rows` rejected, one detail for each."""
    order = np.argsort(rows)
    mask = np.zeros(table.num_rows, dtype=np.bool_)
    mask[rows] = True
    for name, values in (("reason", [reason.value] * len(rows)), ("detail", [details[i] for i in order])):
        field = SURVEY_SCHEMA.field(name)
        column = pc.replace_with_mask(table[name].combine_chunks(), mask, pa.array(values, field.type))
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return table


def rejected_rows(table: pa.Table, *, files: Sequence[CorpusFile]) -> Iterator[Rejected]:
    """Yield the rows in quarantine, in the order of the survey."""
    for row in table.filter(pc.is_valid(table["reason"])).to_pylist():
        yield Rejected(
            origin=files[row["file"]].origin(row["line"]),
            reason=Reason(row["reason"]),
            detail=row["detail"],
            locale=row["locale"],
            source=row["source"],
            utterance_id=row["id"],
            duration_s=row["duration_s"],
        )


def lay_out(table: pa.Table, *, utterances_per_shard: int, utterances_per_row_group: int) -> pa.Table:
    """Give each passed row its place: columns `shard`, `row_group`, `row` are added, rows are in that order.

    Inside each (locale, source) the order is that of a hash of the id: neighbours in a corpus (one
    speaker, one book) are spread, and the layout depends on nothing but the ids. Rows of blocks that must
    be read whole stay together, so that a shard touches few of them; the blocks are spread, and the rows
    inside each.
    """
    keys = ("locale", "source", "block", "id_hash", "id")
    passed = table.filter(pc.is_null(table["reason"])).sort_by([(key, "ascending") for key in keys])
    is_new_key = _changes(_codes(passed["locale"]), _codes(passed["source"]))
    part, place = np.divmod(_rank_in_run(is_new_key), utterances_per_shard)
    row_group, row = np.divmod(place, utterances_per_row_group)
    is_new_shard = is_new_key | _changes(part)
    names = [
        shard_path(locale=first["locale"], source=first["source"], part=number)
        for first, number in zip(
            passed.select(["locale", "source"]).filter(is_new_shard).to_pylist(),
            part[is_new_shard].tolist(),
            strict=True,
        )
    ]
    shard = pa.array(np.cumsum(is_new_shard) - 1, pa.int32())
    passed = passed.append_column(
        "shard", pa.DictionaryArray.from_arrays(shard, pa.array(names, pa.string()))
    )
    passed = passed.append_column("row_group", pa.array(row_group, pa.int32()))
    return passed.append_column("row", pa.array(row, pa.int32()))


def by_shard(layout: pa.Table) -> list[pa.Table]:
    """Cut a layout, which is in shard order, into one table per shard."""
    if not layout.num_rows:
        return []
    starts = np.flatnonzero(_changes(layout["shard"].combine_chunks().indices.to_numpy()))
    counts = np.diff(np.append(starts, layout.num_rows))
    index = layout.schema.get_field_index("shard")
    # As plain text: a dictionary would carry the names of all shards along with each.
    plain = layout.set_column(index, "shard", layout["shard"].cast(pa.string()))
    return [plain.slice(int(start), int(count)) for start, count in zip(starts, counts, strict=True)]


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Return an integer for each value, equal for equal ones."""
    codes: npt.NDArray[np.int32] = column.combine_chunks().dictionary_encode().indices.to_numpy()
    return codes


def _changes(*columns: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Return for each row whether it is the first or differs from the one before in any column."""
    changed = np.ones(len(columns[0]), dtype=np.bool_)
    changed[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return changed


def _rank_in_run(is_start: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many rows stand between each row and the last start, itself not counted."""
    rows = np.arange(len(is_start), dtype=np.int64)
    return rows - np.maximum.accumulate(np.where(is_start, rows, 0))
