"""The layout of shards is a function of the ids, and every id stands in it once."""

from __future__ import annotations

import zlib
from collections import Counter
from random import Random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.checks.survey import SURVEY_SCHEMA, CorpusFile, by_shard, lay_out, reject_duplicates
from asr_ray.settings import CorpusSettings

FILES = [CorpusFile(corpus=CorpusSettings(path="m.jsonl", source="a"), path="m.jsonl")]

Row = tuple[str, str, str, bool]

ROWS = st.lists(
    st.tuples(
        st.text("abc", min_size=1, max_size=3),
        st.sampled_from(["el-GR", "bg-BG"]),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=60,
)


def survey_of(rows: list[Row]) -> pa.Table:
    lines = [
        {
            "file": 0,
            "start": number,
            "stop": number + 1,
            "line": number + 1,
            "id": name,
            "id_hash": zlib.crc32(name.encode()),
            "locale": locale,
            "source": source,
            "reason": None if passed else "truncated",
            "detail": None if passed else "half a file",
        }
        for number, (name, locale, source, passed) in enumerate(rows)
    ]
    return pa.Table.from_pylist(lines, schema=SURVEY_SCHEMA)


@given(rows=ROWS, order=st.randoms())
def test_of_each_id_the_first_row_that_passed_stays(rows: list[Row], order: Random) -> None:
    table = survey_of(rows)
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)

    found = reject_duplicates(table.take(pa.array(shuffled, pa.int64())), files=FILES).to_pylist()

    assert [row["line"] for row in found] == list(range(1, len(rows) + 1))
    first: dict[str, int] = {}
    for number, (row, (name, _, _, passed)) in enumerate(zip(found, rows, strict=True), 1):
        if not passed:
            assert row["reason"] == "truncated"
        elif name in first:
            assert (row["reason"], row["detail"]) == ("duplicate-id", f"same id as m.jsonl:{first[name]}")
        else:
            first[name] = number
            assert row["reason"] is None


@given(rows=ROWS, per_shard=st.integers(1, 9), per_row_group=st.integers(1, 4))
def test_every_passed_row_has_one_place(rows: list[Row], per_shard: int, per_row_group: int) -> None:
    table = reject_duplicates(survey_of(rows), files=FILES)

    layout = lay_out(table, utterances_per_shard=per_shard, utterances_per_row_group=per_row_group)

    placed = layout.to_pylist()
    assert Counter(row["id"] for row in placed) == Counter({row[0] for row in rows if row[3]})
    for shard in by_shard(layout):
        inside = shard.to_pylist()
        assert len({(row["shard"], row["locale"], row["source"]) for row in inside}) == 1
        assert len(inside) <= per_shard
        places = [row["row_group"] * per_row_group + row["row"] for row in inside]
        assert places == list(range(len(inside)))
        assert all(row["row"] < per_row_group for row in inside)
    assert sum(map(len, by_shard(layout))) == len(placed)


@given(rows=ROWS, per_shard=st.integers(1, 9))
def test_only_the_last_shard_of_a_key_is_not_full(rows: list[Row], per_shard: int) -> None:
    table = reject_duplicates(survey_of(rows), files=FILES)

    shards = by_shard(lay_out(table, utterances_per_shard=per_shard, utterances_per_row_group=4))

    keys = [(shard["locale"][0].as_py(), shard["source"][0].as_py()) for shard in shards]
    for shard, key, following in zip(shards, keys, [*keys[1:], None], strict=False):
        assert len(shard) == per_shard or key != following


@given(rows=ROWS, block_size=st.integers(1, 7), per_shard=st.integers(1, 9))
def test_rows_of_a_block_stay_together(rows: list[Row], block_size: int, per_shard: int) -> None:
    table = reject_duplicates(survey_of(rows), files=FILES)
    blocks = pa.array([1 + number // block_size for number in range(len(rows))], pa.uint64())
    table = table.set_column(table.schema.get_field_index("block"), SURVEY_SCHEMA.field("block"), blocks)

    placed = lay_out(table, utterances_per_shard=per_shard, utterances_per_row_group=4).to_pylist()

    for key in {(row["locale"], row["source"]) for row in placed}:
        inside = [row["block"] for row in placed if (row["locale"], row["source"]) == key]
        assert inside == sorted(inside)
        hashes = [(row["block"], row["id_hash"]) for row in placed if (row["locale"], row["source"]) == key]
        assert hashes == sorted(hashes)
