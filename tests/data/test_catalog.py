from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from asr_ray.data.catalog import SCHEMA, TOKENIZER_DIGEST, Catalog
from asr_ray.errors import DataError
from asr_ray.testing.catalogs import made_up_catalog

EL, BG, EN = ("el-GR", "a"), ("bg-BG", "a"), ("en-US", "b")


@pytest.fixture(scope="module")
def made_up() -> Catalog:
    return made_up_catalog({EN: 300, EL: 100, BG: 75})


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_what_is_written_is_read(made_up: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    written = Catalog.write(made_up.table, path, {TOKENIZER_DIGEST: "t", "note": "n"})
    read = Catalog.read(path, ids=True)
    assert read.table.equals(written.table)
    assert read.table.schema.equals(SCHEMA)
    assert read.metadata == {TOKENIZER_DIGEST: "t", "note": "n"}
    assert read.digest == written.digest
    assert read.root == tmp_path


def test_ids_stay_on_disk_unless_asked_for(made_up: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    Catalog.write(made_up.table, path, {})
    rows = np.array([5, 3])
    assert Catalog.read(path, ids=True).ids(rows) == ["en-US-b-5", "en-US-b-3"]
    lean = Catalog.read(path)
    assert lean.table.nbytes / len(lean) < 32
    with pytest.raises(DataError, match="without ids"):
        lean.ids(rows)


def test_columns_are_views(made_up: Catalog) -> None:
    assert made_up.durations_s.dtype == np.float32
    assert made_up.num_tokens.dtype == made_up.row_group.dtype == made_up.row.dtype == np.int32
    assert not made_up.durations_s.flags.owndata
    names = [made_up.shards[code] for code in made_up.shard[:2]]
    assert names == made_up.table.column("shard")[:2].to_pylist()


def test_keys_are_sorted_pairs_with_their_hours(made_up: Catalog) -> None:
    assert made_up.keys == (BG, EL, EN)
    assert np.bincount(made_up.key_of_row).tolist() == [75, 100, 300]
    for key, seconds in made_up.seconds_by_key.items():
        mask = pc.equal(made_up.table.column("locale"), key[0])
        expected = pc.sum(made_up.table.filter(mask).column("duration_s").cast(pa.float64())).as_py()
        assert seconds == pytest.approx(expected)
        assert made_up.hours_by_key[key] == pytest.approx(expected / 3600)


@pytest.mark.parametrize("order", ["as written", "shuffled"])
def test_row_groups_partition_the_rows(made_up: Catalog, order: str) -> None:
    rows = np.arange(len(made_up))
    if order == "shuffled":
        rows = np.random.default_rng(0).permutation(rows)
    catalog = Catalog.of(made_up.table.take(pa.array(rows)), metadata={}, root=Path())
    groups = catalog.row_groups
    assert sorted(groups.rows.tolist()) == list(range(len(catalog)))
    assert len(groups) == 3 + 4 + 10
    assert np.all(np.diff(groups.key) >= 0)
    for g in range(len(groups)):
        rows = groups.rows[groups.starts[g] : groups.starts[g + 1]]
        assert len(set(zip(catalog.shard[rows].tolist(), catalog.row_group[rows].tolist(), strict=True))) == 1
        assert catalog.row[rows].tolist() == list(range(len(rows)))
        assert set(catalog.key_of_row[rows].tolist()) == {groups.key[g]}


def test_the_digest_is_about_content_not_about_storage(made_up: Catalog) -> None:
    table = made_up.table
    chunked = pa.concat_tables([table.slice(0, 10), table.slice(10, 333), table.slice(343)])
    renumbered = with_column(
        table,
        "locale",
        pa.DictionaryArray.from_arrays(
            pc.index_in(
                table.column("locale").cast(pa.string()).combine_chunks(),
                pa.array(["bg-BG", "x", "en-US", "el-GR"]),
            ),
            ["bg-BG", "x", "en-US", "el-GR"],
        ),
    )
    metadata = dict(made_up.metadata)
    assert Catalog.of(chunked, metadata=metadata, root=Path("elsewhere")).digest == made_up.digest
    sliced = Catalog.of(table.slice(100), metadata=metadata, root=Path())
    rebuilt = Catalog.of(
        pa.Table.from_pylist(table.slice(100).to_pylist(), SCHEMA), metadata=metadata, root=Path()
    )
    assert sliced.digest == rebuilt.digest
    assert Catalog.of(renumbered, metadata=metadata, root=Path()).digest == made_up.digest


@pytest.mark.parametrize("column", SCHEMA.names)
def test_the_digest_sees_a_change_in_each_column(made_up: Catalog, column: str) -> None:
    rows = made_up.table.to_pylist()
    old = rows[-1][column]
    rows[-1][column] = f"{old}x" if isinstance(old, str) else old + 1
    changed = pa.Table.from_pylist(rows, schema=SCHEMA)
    if column in {"locale", "source"}:  # that row would no longer suit its row group
        rows[-1]["shard"] = "other"
        changed = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert Catalog.of(changed, metadata=made_up.metadata, root=Path()).digest != made_up.digest


def test_another_tokenizer_is_another_digest(made_up: Catalog) -> None:
    one, other = (
        Catalog.of(made_up.table, metadata={TOKENIZER_DIGEST: name}, root=Path()) for name in ("a", "b")
    )
    assert one.digest != other.digest


def test_filter_keeps_the_asked_for(made_up: Catalog) -> None:
    few = made_up.filter(locales=["el-GR", "bg-BG"])
    assert few.keys == (BG, EL)
    assert len(few) == 175
    assert len(few.row_groups) == 7
    short = made_up.filter(max_duration_s=6.0)
    assert short.durations_s.max() <= 6.0
    assert len(short) == int((made_up.durations_s <= 6.0).sum())
    assert len({made_up.digest, few.digest, short.digest}) == 3
    assert made_up.filter(locales=["bg-BG", "el-GR"]).digest == few.digest


def test_filter_for_what_is_not_there_names_what_is(made_up: Catalog) -> None:
    with pytest.raises(DataError, match=r"mt-MT is prepared .*bg-BG, el-GR, en-US"):
        made_up.filter(locales=["el-GR", "mt-MT"])
    with pytest.raises(DataError, match="no utterance is left"):
        made_up.filter(max_duration_s=0.1)


def test_a_catalog_travels_without_its_views(made_up: Catalog) -> None:
    assert made_up.row_groups
    copy = pickle.loads(pickle.dumps(made_up))
    assert copy.digest == made_up.digest
    assert np.array_equal(copy.durations_s, made_up.durations_s)
    assert len(pickle.dumps(made_up)) < 1.2 * made_up.table.nbytes + 10_000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.drop_columns(["row"]), "needs the columns row"),
        (lambda table: table.slice(0, 0), "without utterances"),
        (lambda table: with_column(table, "duration_s", np.zeros(len(table), np.float32)), "above 0"),
        (lambda table: with_column(table, "duration_s", np.full(len(table), np.nan, np.float32)), "above 0"),
        (lambda table: with_column(table, "num_tokens", np.full(len(table), -1, np.int32)), "num_tokens"),
        (lambda table: with_column(table, "num_tokens", ["many"] * len(table)), "do not suit"),
        (lambda table: with_column(table, "source", ["a", "b"] * 50), "mixes locales or sources"),
    ],
)
def test_rows_that_make_no_catalog_are_refused(spoil: Callable[[pa.Table], pa.Table], message: str) -> None:
    table = made_up_catalog({EL: 100}).table.cast(pa.schema([field.with_nullable(True) for field in SCHEMA]))
    with pytest.raises(DataError, match=message):
        Catalog.of(spoil(table), metadata={}, root=Path())


def test_null_is_refused() -> None:
    table = made_up_catalog({EL: 4}).table
    with pytest.raises(DataError):
        Catalog.of(with_column(table, "id", ["a", None, "c", "d"]), metadata={}, root=Path())


def test_files_that_are_no_catalogs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no catalog") as caught:
        Catalog.read(tmp_path / "none.parquet")
    assert "prepare" in caught.value.fix
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        Catalog.read(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="not a catalog"):
        Catalog.read(tmp_path / "other.parquet")
