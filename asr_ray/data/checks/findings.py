"""Everything that reading speech tells: what can be used, what was put aside, what is there twice.

The same findings come from corpora, while they are surveyed, and from a folder that is prepared already.
They are what `summary.json`, `quarantine.parquet` and `data_report.html` show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data.catalog import TOKENIZER_DIGEST, Catalog
from asr_ray.data.checks.duplicates import find_overlaps
from asr_ray.data.checks.fingerprints import HeldOut, read_fingerprints, read_held_out
from asr_ray.data.checks.profile import Profile, profile_of
from asr_ray.data.checks.quarantine import Tally, limit_error, tally
from asr_ray.data.checks.summary import (
    CATALOG,
    QUARANTINE,
    Prepared,
    PrepareSummary,
    read_summary,
    rejected_by_reason,
)
from asr_ray.data.read import addresses, read_utterances
from asr_ray.errors import DataError
from asr_ray.records import Reason, Rejected
from asr_ray.report.numbers import counted
from asr_ray.settings import CheckDataSettings, PrepareSettings

_NUM_EXAMPLES = 3
_LONGEST_TEXT = 160

_QUARANTINE_SCHEMA = pa.schema(
    [
        ("origin", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("locale", pa.string()),
        ("source", pa.string()),
        ("utterance_id", pa.string()),
        ("duration_s", pa.float64()),
    ]
)

TextsOf = Callable[[pa.Table], Sequence[str]]
"""Looks up the transcripts of some accepted rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """Rows put aside for one reason, with the first few."""

    reason: Reason
    rows: int
    examples: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found.

    Attributes:
        summary: the counts.
        tallies: rows per locale, also of locales of which none was put aside.
        rejected: every row put aside.
        profile: of accepted rows.
        settings: what was read and how it was judged.
        error: to be raised once all is written; None when the speech can be used.
    """

    summary: PrepareSummary
    tallies: tuple[Tally, ...]
    rejected: Sequence[Rejected]
    profile: Profile
    settings: PrepareSettings
    error: DataError | None

    @property
    def reasons(self) -> list[ReasonCount]:
        """Rejected rows by reason, the most frequent first."""
        rows: defaultdict[Reason, list[Rejected]] = defaultdict(list)
        for row in self.rejected:
            rows[row.reason].append(row)
        counts = [
            ReasonCount(reason=reason, rows=len(found), examples=tuple(found[:_NUM_EXAMPLES]))
            for reason, found in rows.items()
        ]
        return sorted(counts, key=lambda each: (-each.rows, each.reason))


def findings_of(
    accepted: pa.Table,
    *,
    rejected: Sequence[Rejected],
    settings: PrepareSettings,
    held_out: HeldOut,
    out: Path,
    quarantine: Path,
    tokenizer_digest: str,
    inputs_digest: str,
    texts_of: TextsOf,
) -> Findings:
    """Put together what was found.

    Args:
        accepted: rows that passed; columns locale, source, duration_s, num_tokens, num_characters, speaker,
            audio_hash, text_hash.
        rejected: rows that did not.
        settings: what was read and how it is judged.
        held_out: from `fingerprints.read_held_out`.
        out: folder that the findings are about.
        quarantine: where the rejected rows will stand, for messages.
        tokenizer_digest: of the tokenizer that counted the tokens.
        inputs_digest: see `summary.digest_of_inputs`.
        texts_of: for the transcripts that are repeated most.
    """
    prepared = _prepared(accepted)
    tallies = tally(
        rejected,
        accepted={(each.locale, each.source): each.utterances for each in prepared},
        new_locales=settings.checks.new_locales,
    )
    error = limit_error(tallies, checks=settings.checks, quarantine=quarantine)
    overlaps, rows = find_overlaps(accepted, held_out=held_out, checks=settings.checks)
    texts = texts_of(accepted.take(pa.array(rows))) if len(rows) else ()
    shown = [
        replace(each, text=_shortened(text)) for each, text in zip(overlaps.most_repeated, texts, strict=True)
    ]
    summary = PrepareSummary(
        out=out,
        prepared=prepared,
        rejected=rejected_by_reason(tallies),
        overlaps=replace(overlaps, most_repeated=tuple(shown)),
        tokenizer_digest=tokenizer_digest,
        inputs_digest=inputs_digest,
        exit_code=error.exit_code if error else 0,
    )
    return Findings(
        summary=summary,
        tallies=tuple(tallies),
        rejected=rejected,
        profile=profile_of(accepted),
        settings=settings,
        error=error,
    )


def findings_of_folder(settings: CheckDataSettings, root: Path) -> Findings:
    """Return the findings about a prepared folder, from its catalog, fingerprints and quarantine.

    Speech that `settings.held_out` holds too is an error here: it is in the shards and would be trained on.

    Args:
        settings: limits and held-out folders; those that the folder was prepared with are not looked up.
        root: folder written by jobs/prepare.py.

    Raises:
        DataError: there is no catalog, or what stands beside it does not belong to it.
    """
    catalog = Catalog.read(root / CATALOG, ids=True)
    prints = read_fingerprints(root, catalog_digest=catalog.digest)
    accepted = catalog.table
    for name in prints.column_names:
        accepted = accepted.append_column(name, prints[name])
    findings = findings_of(
        accepted,
        rejected=read_quarantine(root / QUARANTINE),
        settings=settings,
        held_out=read_held_out(settings.held_out),
        out=root,
        quarantine=root / QUARANTINE,
        tokenizer_digest=catalog.metadata.get(TOKENIZER_DIGEST, ""),
        inputs_digest=str(read_summary(root).get("inputs_digest", "")),
        texts_of=lambda rows: [each.text for each in read_utterances(root, addresses(rows))],
    )
    return _judge_leak(findings)


def _judge_leak(findings: Findings) -> Findings:
    leaked = findings.summary.overlaps.held_out_audio_rows
    if not leaked or findings.error is not None:
        return findings
    error = DataError(
        f"{findings.summary.out}: {counted(leaked, 'utterance')} also in the held-out speech",
        fix="prepare the folder again with the same held_out, which leaves them out",
    )
    return replace(findings, error=error, summary=replace(findings.summary, exit_code=error.exit_code))


def _prepared(accepted: pa.Table) -> tuple[Prepared, ...]:
    columns = [accepted["locale"].cast(pa.string()), accepted["source"].cast(pa.string())]
    # Summed as float64, whatever the precision of the single durations.
    durations = accepted["duration_s"].cast(pa.float64())
    table = pa.table([*columns, durations], names=["locale", "source", "duration_s"])
    groups = table.group_by(["locale", "source"], use_threads=False)
    totals = groups.aggregate([("duration_s", "sum"), ("duration_s", "count")]).to_pylist()
    return tuple(
        Prepared(
            locale=each["locale"],
            source=each["source"],
            utterances=each["duration_s_count"],
            hours=each["duration_s_sum"] / 3600,
        )
        for each in sorted(totals, key=lambda each: (each["locale"], each["source"]))
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def write_quarantine(path: Path, rejected: Sequence[Rejected]) -> None:
    """Write the rows put aside, each with its reason."""
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rejected], schema=_QUARANTINE_SCHEMA), path)


def read_quarantine(path: Path) -> list[Rejected]:
    """Return the rows of a quarantine; none if there is no such file.

    Raises:
        DataError: the file is damaged or of another version.
    """
    if not path.is_file():
        return []
    try:
        rows = pq.read_table(path).to_pylist()
        return [Rejected(**(row | {"reason": Reason(row["reason"])})) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix="run jobs/prepare.py again") from None


def accepted_rows(surveyed: pa.Table) -> pa.Table:
    """Return the rows of a survey that passed, in its order."""
    return surveyed.filter(np.asarray(surveyed["reason"].is_null()))
