"""Corpora -> Parquet shards, catalog, quarantine and summary, in parallel through Ray Data.

    spans of rows -> read and check (tasks) -> survey (driver, metadata) -> layout -> write shards (tasks)

The survey decides everything, so the same corpora give the same files whatever the parallelism. All is
written beside the target and put in place by a rename: a stopped preparation leaves nothing half done. One
that fails leaves its findings in OUT; where an earlier good result stands, in OUT/rejected beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from asr_ray.data.audio import conform
from asr_ray.data.catalog import SCHEMA, TOKENIZER_DIGEST, Catalog
from asr_ray.data.checks.duplicates import reject_overlaps
from asr_ray.data.checks.findings import Findings, accepted_rows, findings_of
from asr_ray.data.checks.fingerprints import FINGERPRINTS, read_held_out, write_fingerprints
from asr_ray.data.checks.report import write_findings
from asr_ray.data.checks.summary import (
    CATALOG,
    QUARANTINE,
    REPORT,
    SUMMARY,
    PrepareSummary,
    digest_of_inputs,
    find_finished,
)
from asr_ray.data.checks.survey import (
    SURVEY_SCHEMA,
    CorpusFile,
    by_shard,
    checksum,
    corpus_files,
    covered,
    failure,
    lay_out,
    raise_failures,
    reject_duplicates,
    rejected_rows,
    survey,
)
from asr_ray.data.corpus import READERS, Place, Span
from asr_ray.data.shard_file import write_shard
from asr_ray.errors import ConfigError, DataError
from asr_ray.placement import Labels, warn_of_absent_nodes
from asr_ray.records import Tokenizer, Utterance
from asr_ray.settings import PrepareSettings

_ROWS_PER_SPAN = 256
_MAX_TASKS = 2000
_SPAN_FIELDS = ("start", "stop", "first_row", "is_block")
_REJECTED, _CHECKED = "rejected", "checked"
_PRODUCTS = {"shards", CATALOG, FINGERPRINTS, QUARANTINE, SUMMARY, REPORT, _REJECTED, _CHECKED}

Progress = Callable[[str, float], None]
"""Told what is being done and which share of it is finished."""


def _no_progress(stage: str, share: float) -> None:
    """Tell nobody."""


def prepare(
    settings: PrepareSettings, *, tokenizer: Tokenizer, progress: Progress = _no_progress
) -> PrepareSummary:
    """Read every corpus, put unusable rows aside and write the rest as shards with a catalog.

    Needs a running Ray. An earlier result of the same settings, manifests and tokenizer is reused, unless
    `settings.reuse` is off. Audio files that were replaced under the same manifest are not noticed: see
    `summary.digest_of_inputs`.

    Args:
        settings: corpora, checks and target folder.
        tokenizer: counts the tokens of each transcript.
        progress: called now and then.

    Raises:
        DataError: a corpus has no manifest, a locale lost more rows than allowed (quarantine, summary and
            report are left in the target folder, or in `rejected` in it beside an earlier result), a
            held-out folder has no fingerprints, or audio changed while it was being read.
        ConfigError: the target folder holds something else.
    """
    _recover(settings.out)
    files = corpus_files(settings.corpora)
    inputs_digest = digest_of_inputs(settings, files=files, tokenizer=tokenizer)
    finished = find_finished(settings.out, inputs_digest=inputs_digest) if settings.reuse else None
    if finished:
        return finished
    _check_replaceable(settings.out)
    # Findings alone may stand where the shards would; beside shards they have a folder of their own.
    folder = _REJECTED if (settings.out / CATALOG).is_file() else "."
    surveyed = survey_corpora(settings, tokenizer=tokenizer, progress=progress, folder=folder)
    findings = surveyed.findings
    if findings.error is not None:
        _write_beside(settings.out / folder, findings)
        raise findings.error
    layout = lay_out(
        surveyed.table,
        utterances_per_shard=settings.utterances_per_shard,
        utterances_per_row_group=settings.utterances_per_row_group,
    )
    with _staged(settings.out) as staging:
        write_findings(staging, findings)
        _write_shards(staging, layout, files=files, settings=settings, progress=progress)
        catalog = _write_catalog(staging / CATALOG, layout, tokenizer=tokenizer)
        write_fingerprints(staging, layout, catalog_digest=catalog.digest)
    return findings.summary


def check_corpora(
    settings: PrepareSettings, *, tokenizer: Tokenizer, progress: Progress = _no_progress
) -> Findings:
    """Read and judge every corpus as `prepare` would, and leave the findings in OUT/checked; nothing else.

    Needs a running Ray.

    Raises:
        DataError: a corpus has no manifest, or a held-out folder has no fingerprints.
        ConfigError: the target folder holds something else.
    """
    _recover(settings.out)
    _check_replaceable(settings.out)
    findings = survey_corpora(settings, tokenizer=tokenizer, progress=progress, folder=_CHECKED).findings
    _write_beside(settings.out / _CHECKED, findings)
    return findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """What preparation knows before it writes a shard.

    Attributes:
        table: every row, columns as in `SURVEY_SCHEMA`.
    """

    table: pa.Table
    findings: Findings


def survey_corpora(
    settings: PrepareSettings, *, tokenizer: Tokenizer, progress: Progress = _no_progress, folder: str
) -> Surveyed:
    """Read and judge every corpus; writes nothing.

    Args:
        settings: corpora and checks.
        tokenizer: counts the tokens of each transcript.
        progress: called now and then.
        folder: where in the target the findings will stand if they are not those of its shards.

    Raises:
        DataError: see `check_corpora`.
    """
    files = corpus_files(settings.corpora)
    held_out = read_held_out(settings.held_out)
    table = _survey_all(files, settings=settings, tokenizer=tokenizer, progress=progress)
    table = reject_overlaps(table, files=files, held_out=held_out, checks=settings.checks)

    def texts_of(rows: pa.Table) -> list[str]:
        try:
            return [utterance.text for utterance in _read_again(rows, files=files)]
        except _ChangedRow:
            return [""] * rows.num_rows

    findings = findings_of(
        accepted_rows(table),
        rejected=list(rejected_rows(table, files=files)),
        settings=settings,
        held_out=held_out,
        out=settings.out,
        quarantine=settings.out / folder / QUARANTINE,
        tokenizer_digest=tokenizer.digest,
        inputs_digest=digest_of_inputs(settings, files=files, tokenizer=tokenizer),
        texts_of=texts_of,
    )
    return Surveyed(table=table, findings=findings)


def _write_beside(folder: Path, findings: Findings) -> None:
    """Write findings over earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    write_findings(folder, findings)


def _survey_all(
    files: Sequence[CorpusFile], *, settings: PrepareSettings, tokenizer: Tokenizer, progress: Progress
) -> pa.Table:
    """Read and check every row in parallel; returns the survey without duplicates, in corpus order."""
    checks = settings.checks
    spans = [
        {"file": number} | {name: getattr(span, name) for name in _SPAN_FIELDS}
        for number, file in enumerate(files)
        for span in READERS[file.corpus.format].split(file.path, rows_per_span=_ROWS_PER_SPAN)
    ]
    if not spans:
        return SURVEY_SCHEMA.empty_table()

    def survey_batch(batch: pa.Table) -> Iterator[pa.Table]:
        for row in batch.to_pylist():
            number = row.pop("file")
            span = Span(file=files[number].path, **row)
            try:
                yield survey(span, files=files, file=number, checks=checks, tokenizer=tokenizer)
            except DataError as error:
                yield failure(error, file=number)

    with _ray_data_context(settings.decode_labels):
        dataset = ray.data.from_items(spans, override_num_blocks=min(len(spans), _MAX_TASKS))
        found = dataset.map_batches(survey_batch, batch_size=None, batch_format="pyarrow")
        tables: list[pa.Table] = []
        done, total = 0, sum(span["stop"] - span["start"] for span in spans)
        batches: Any = found.iter_batches(batch_size=None, batch_format="pyarrow")
        for table in batches:
            raise_failures(table)
            tables.append(table.cast(SURVEY_SCHEMA))
            done += covered(table)
            progress("check", min(done / total, 1.0))
    progress("check", 1.0)
    surveyed = pa.concat_tables(tables)
    return reject_duplicates(surveyed, files=files)


def _write_shards(
    folder: Path,
    layout: pa.Table,
    *,
    files: Sequence[CorpusFile],
    settings: PrepareSettings,
    progress: Progress,
) -> None:
    """Write every shard of the layout, one task each.

    Raises:
        DataError: audio differs from what was checked.
    """
    utterances_per_row_group, in_place = settings.utterances_per_row_group, settings.in_place

    def write_batch(rows: pa.Table) -> pa.Table:
        shard = rows["shard"][0].as_py()
        try:
            utterances = _read_again(rows, files=files, in_place=in_place)
            write_shard(folder / shard, utterances, utterances_per_row_group=utterances_per_row_group)
        except _ChangedRow as changed:
            return _written(rows, changed=changed.origin)
        except DataError as error:
            return _written(rows, error=error)
        return _written(rows)

    with _ray_data_context(settings.decode_labels):
        dataset = ray.data.from_arrow(by_shard(layout))
        written = dataset.map_batches(write_batch, batch_size=None, batch_format="pyarrow")
        changed, num_rows = [], 0
        for row in written.iter_rows():
            if row["message"] is not None:
                raise DataError(row["message"], fix=row["fix"])
            num_rows += row["rows"]
            changed += [row["changed"]] if row["changed"] else []
            progress("write", num_rows / layout.num_rows)
    if changed:
        raise DataError(
            f"audio changed while it was being prepared: {', '.join(sorted(changed)[:3])}",
            fix="wait until the corpus is complete and run the same command again",
        )


def _written(rows: pa.Table, *, changed: str | None = None, error: DataError | None = None) -> pa.Table:
    """What a task tells of its shard; an error of a task would reach the driver inside one of Ray's."""
    told = {
        "changed": changed,
        "message": error.message if error else None,
        "fix": error.fix if error else None,
    }
    columns = {name: pa.array([text], pa.string()) for name, text in told.items()}
    return pa.table({"rows": [rows.num_rows], **columns})


class _ChangedRow(Exception):
    """A row that reads differently than it did when it was checked; stays inside this module."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.origin = origin


def _read_again(
    rows: pa.Table, *, files: Sequence[CorpusFile], in_place: bool = False
) -> Iterator[Utterance]:
    """Yield the utterances of survey rows, audio at 16 kHz.

    Neighbours that stand in one span are read together: of rows alone in theirs one is held at a time.
    """
    for (number, start, stop), run in groupby(rows.to_pylist(), key=itemgetter("file", "start", "stop")):
        file, group = files[number], list(run)
        found = _found_again(group, file=file, start=start, stop=stop)
        for row in group:
            utterance = found.get((row["line"], row["part"]))
            if utterance is None or checksum(utterance) != row["checksum"]:
                raise _ChangedRow(file.origin(row["line"]))
            audio = conform(utterance.audio)
            stored = utterance.stored if in_place and audio is utterance.audio else None
            yield replace(
                utterance, locale=row["locale"], duration_s=row["duration_s"], audio=audio, stored=stored
            )


def _found_again(
    group: Sequence[Mapping[str, Any]], *, file: CorpusFile, start: int, stop: int
) -> dict[Place, Utterance]:
    is_block = bool(group[0]["block"])
    # The first row of a block only numbers its lines; each reader counts them from its start.
    first_row = start + 1 if is_block else group[0]["line"]
    span = Span(file=file.path, start=start, stop=stop, first_row=first_row, is_block=is_block)
    wanted = {(row["line"], row["part"]) for row in group}
    again = READERS[file.corpus.format].read(span, corpus=file.corpus, wanted=wanted)
    return {row.place: row.content for row in again if isinstance(row.content, Utterance)}


def _write_catalog(path: Path, layout: pa.Table, *, tokenizer: Tokenizer) -> Catalog:
    return Catalog.write(layout.select(SCHEMA.names), path, {TOKENIZER_DIGEST: tokenizer.digest})


@contextmanager
def _ray_data_context(decode_labels: Labels | None) -> Iterator[None]:
    """Options for the datasets made inside; those of the caller stay as they are."""
    nodes = [node["Labels"] for node in ray.nodes() if node["Alive"]]
    warn_of_absent_nodes(decode_labels, nodes=nodes, key="decode_labels")
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.label_selector = dict(decode_labels) if decode_labels else None
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    with ray.data.DataContext.current(context):
        yield


def _check_replaceable(out: Path) -> None:
    """Refuse to replace a folder that preparation did not write."""
    foreign = (
        sorted(path.name for path in out.iterdir() if path.name not in _PRODUCTS) if out.is_dir() else []
    )
    if foreign or (out.exists() and not out.is_dir()):
        raise ConfigError(
            f"out: {out} holds other files ({', '.join(foreign[:3]) or 'it is no folder'})",
            fix="choose an empty or a new folder",
        )


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its place at the end, or is removed after an error."""
    out = out.absolute()
    staging = out.with_name(f".{out.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        if out.exists():
            out.rename(_replaced(out))
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _recover(out)


def _replaced(out: Path) -> Path:
    """Return where an earlier result stands for the moment between the two renames."""
    out = out.absolute()
    return out.with_name(f".{out.name}.replaced")


def _recover(out: Path) -> None:
    """Put an earlier result back that was set aside and not replaced; remove it if it was replaced."""
    replaced = _replaced(out)
    if out.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    elif replaced.exists():
        replaced.rename(out)
