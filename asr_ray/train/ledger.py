"""The ledger: which utterance fed which committed step, on which rank, and for how many seconds.

Each rank keeps its rows in memory between two checkpoints and writes them to a part file just before
the commit. A part that lies beyond the newest committed step belongs to work that was lost; it is
removed when the run resumes, so the ledger always describes exactly what is in the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.records import Batch
from asr_ray.train.checkpoint import cannot_write

SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("rank", pa.int32()),
        ("id", pa.string()),
        ("locale", pa.dictionary(pa.int32(), pa.string())),
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("seconds", pa.float64()),
        ("applied", pa.bool_()),
    ]
)
"""`step` counts optimizer updates from 1; `applied` is false where a non-finite step was skipped."""


class Ledger:
    """One rank's part of the ledger."""

    def __init__(self, run_dir: Path, *, rank: int) -> None:
        self.folder = run_dir / "ledger"
        self.rank = rank
        self._tables: list[pa.Table] = []

    def add(self, batch: Batch, *, step: int, applied: bool) -> None:
        """Record the utterances of one batch."""
        size = len(batch)
        columns = [
            [step] * size,
            [self.rank] * size,
            batch.ids,
            batch.locales,
            batch.sources,
            batch.durations_s,
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=False)]
        self._tables.append(pa.table([*arrays, pa.array([applied] * size)], schema=SCHEMA))

    def flush(self, *, step: int) -> None:
        """Write the rows since the last flush as the part that ends at `step`.

        Raises:
            EnvironmentFault: storage does not take them.
        """
        if not self._tables:
            return
        table = pa.concat_tables(self._tables)
        final = self.folder / f"part-{step:08d}-rank{self.rank:03d}.parquet"
        temporary = final.with_suffix(".writing")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, temporary)
            temporary.replace(final)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise cannot_write(self.folder, what=f"the ledger of step {step}", error=error) from error
        self._tables.clear()

    def seconds(self) -> Mapping[str, float]:
        """Seconds by "locale/source" of the applied rows not yet flushed."""
        totals: dict[str, float] = {}
        for table in self._tables:
            for row in table.select(["locale", "source", "seconds", "applied"]).to_pylist():
                if row["applied"]:
                    key = f"{row['locale']}/{row['source']}"
                    totals[key] = totals.get(key, 0.0) + row["seconds"]
        return totals


def truncate(run_dir: Path, *, step: int) -> None:
    """Remove the parts of work that never was committed: those ending after `step`."""
    for part in (run_dir / "ledger").glob("part-*.parquet"):
        if int(part.name.split("-")[1]) > step:
            part.unlink()


def read(run_dir: Path) -> pa.Table:
    """Return the whole ledger of a run, in the order of its steps; columns as in `SCHEMA`."""
    parts = sorted((run_dir / "ledger").glob("part-*.parquet"))
    tables = [pq.read_table(part, schema=SCHEMA) for part in parts]
    return (
        pa.concat_tables(tables, promote_options="default").unify_dictionaries()
        if tables
        else SCHEMA.empty_table()
    )
