"""Repeated and held-out speech: what is rejected, what is only counted, and that nothing else is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.checks.duplicates import Overlaps, find_overlaps, reject_overlaps
from asr_ray.data.checks.findings import accepted_rows
from asr_ray.data.checks.fingerprints import HeldOut
from asr_ray.data.checks.survey import SURVEY_SCHEMA, CorpusFile
from asr_ray.settings import CheckSettings, CorpusSettings

FILES = [CorpusFile(corpus=CorpusSettings(path="m.jsonl", source="a"), path=Path("m.jsonl"))]
NOTHING = HeldOut(np.array([], np.uint64), np.array([], np.uint64))
BIG = 2**63
"""Hashes from here on do not survive a detour over floating point or signed integers."""

Row = tuple[int, int, bool]
"""Audio, text, whether the row passed the checks before."""

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=30)
HASHES = st.sets(st.integers(0, 5), max_size=3)


def survey_of(rows: Sequence[Row], *, source: str = "a") -> pa.Table:
    lines = [
        {
            "file": 0,
            "start": number,
            "stop": number + 1,
            "line": number + 1,
            "id": f"u{number}",
            "locale": "el-GR",
            "source": source,
            "audio_hash": BIG + audio if passed else None,
            "text_hash": BIG + text if passed else None,
            "reason": None if passed else "truncated",
            "detail": None if passed else "half a file",
        }
        for number, (audio, text, passed) in enumerate(rows)
    ]
    return pa.Table.from_pylist(lines, schema=SURVEY_SCHEMA)


def held_out(audio: set[int], text: set[int]) -> HeldOut:
    return HeldOut(*(np.array(sorted(BIG + value for value in each), np.uint64) for each in (audio, text)))


def reasons(table: pa.Table) -> list[str | None]:
    found: list[str | None] = table["reason"].to_pylist()
    return found


@given(rows=ROWS, audio=HASHES, text=HASHES)
def test_of_each_audio_the_first_row_stays_unless_it_is_held_out(
    rows: list[Row], audio: set[int], text: set[int]
) -> None:
    found = reject_overlaps(
        survey_of(rows), files=FILES, held_out=held_out(audio, text), checks=CheckSettings()
    )

    seen: dict[int, int] = {}
    for number, ((sound, _, passed), reason) in enumerate(zip(rows, reasons(found), strict=True), 1):
        if not passed:
            assert reason == "truncated"
        elif sound in audio:
            assert reason == "in-held-out-audio"
        elif sound in seen:
            assert reason == "duplicate-audio"
            assert found["detail"][number - 1].as_py().startswith(f"same audio as m.jsonl:{seen[sound]}")
        else:
            seen[sound] = number
            assert reason is None


@given(rows=ROWS, text=HASHES)
def test_held_out_words_are_rejected_on_request_only(rows: list[Row], text: set[int]) -> None:
    table, held = survey_of(rows), held_out(set(), text)
    counted = reject_overlaps(table, files=FILES, held_out=held, checks=CheckSettings(same_audio="count"))
    checks = CheckSettings(same_audio="count", held_out_text="reject")
    rejected = reject_overlaps(table, files=FILES, held_out=held, checks=checks)

    assert counted.equals(table)
    expected = [
        "truncated" if not passed else "in-held-out-text" if words in text else None
        for _, words, passed in rows
    ]
    assert reasons(rejected) == expected


@given(rows=ROWS, audio=HASHES, text=HASHES)
def test_what_is_rejected_is_not_counted_again(rows: list[Row], audio: set[int], text: set[int]) -> None:
    checks, held = CheckSettings(held_out_text="reject"), held_out(audio, text)
    found = reject_overlaps(survey_of(rows), files=FILES, held_out=held, checks=checks)

    overlaps, _ = find_overlaps(accepted_rows(found), held_out=held, checks=checks)

    assert (overlaps.same_audio_rows, overlaps.held_out_audio_rows, overlaps.held_out_text_rows) == (0, 0, 0)


@given(rows=ROWS, audio=HASHES, text=HASHES, limit=st.integers(1, 4))
def test_overlaps_are_counted_as_by_hand(
    rows: list[Row], audio: set[int], text: set[int], limit: int
) -> None:
    accepted = [(sound, words) for sound, words, passed in rows if passed]

    overlaps, examples = find_overlaps(
        accepted_rows(survey_of(rows)),
        held_out=held_out(audio, text),
        checks=CheckSettings(max_text_repeats=limit),
    )

    sounds, words = (Counter(row[place] for row in accepted) for place in (0, 1))
    repeated = {value: count for value, count in words.items() if count > limit}
    assert overlaps.same_audio_rows == sum(sounds.values()) - len(sounds)
    assert overlaps.held_out_audio_rows == sum(count for value, count in sounds.items() if value in audio)
    assert overlaps.held_out_text_rows == sum(count for value, count in words.items() if value in text)
    assert (overlaps.repeated_texts, overlaps.repeated_rows) == (len(repeated), sum(repeated.values()))
    assert [each.rows for each in overlaps.most_repeated] == sorted(repeated.values(), reverse=True)
    assert [repeated[accepted[row][1]] for row in examples] == [each.rows for each in overlaps.most_repeated]


def test_other_words_of_the_same_audio_are_pointed_out() -> None:
    table = survey_of([(1, 1, True), (1, 1, True), (1, 2, True)])

    found = reject_overlaps(table, files=FILES, held_out=NOTHING, checks=CheckSettings())

    assert found["detail"].to_pylist()[1:] == [
        "same audio as m.jsonl:1",
        "same audio as m.jsonl:1, other words",
    ]


def test_texts_are_counted_per_source() -> None:
    both = pa.concat_tables(
        [survey_of([(n, 1, True) for n in range(3)], source=source) for source in ("a", "b")]
    )

    overlaps, _ = find_overlaps(both, held_out=NOTHING, checks=CheckSettings(max_text_repeats=3))
    assert overlaps.repeated_texts == 0
    overlaps, _ = find_overlaps(both, held_out=NOTHING, checks=CheckSettings(max_text_repeats=2))
    assert [(each.source, each.rows) for each in overlaps.most_repeated] == [("a", 3), ("b", 3)]


@pytest.mark.parametrize("rows", [[], [(0, 0, False)]])
def test_nothing_accepted_overlaps_with_nothing(rows: list[Row]) -> None:
    overlaps, examples = find_overlaps(
        accepted_rows(survey_of(rows)), held_out=held_out({0}, {0}), checks=CheckSettings()
    )

    assert (overlaps, len(examples)) == (Overlaps(), 0)
