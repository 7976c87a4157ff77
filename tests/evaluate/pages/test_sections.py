"""Tables and lists hold the newest model, with the base beside it where there are two."""

from __future__ import annotations

import dataclasses

from asr_ray.evaluate.pages.sections import confusion_lists, slice_tables, speaker_rows
from asr_ray.evaluate.scoring.confusions import confusions_of
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.evaluate.scoring.slices import slices_of
from asr_ray.testing.transcripts import made_up_hypotheses


def rows(*, noise: float, sources: int = 2, locale: str = "el-GR") -> list[Hypothesis]:
    return [
        dataclasses.replace(row, source=f"s{index % sources}", snr_db=5.0 + 10 * (index % 3))
        for index, row in enumerate(made_up_hypotheses(120, noise=noise, locale=locale))
    ]


def test_each_dimension_with_several_slices_has_a_table() -> None:
    base, tuned = rows(noise=0.5), rows(noise=0.1)
    tables = {
        table.title: table for table in slice_tables({"base": slices_of(base), "tuned": slices_of(tuned)})
    }
    assert list(tables) == ["By duration", "By signal-to-noise ratio, estimated", "By source"]
    by_source = tables["By source"]
    assert sorted(by_source.columns) == ["s0", "s1"]
    [(locale, cells)] = by_source.rows
    assert locale == "el-GR"
    for cell in cells:
        assert cell is not None
        assert cell.base is not None
        assert cell.last.rate < cell.base.rate
        assert not cell.is_few


def test_one_slice_is_no_table_and_many_sources_are_cut() -> None:
    assert [t.title for t in slice_tables({"a": slices_of(rows(noise=0.1, sources=1))})] == [
        "By duration",
        "By signal-to-noise ratio, estimated",
    ]
    *_, by_source = slice_tables({"a": slices_of(rows(noise=0.1, sources=11))})
    assert (len(by_source.columns), by_source.left_out) == (8, 3)
    assert all(cell and cell.base is None for _, cells in by_source.rows for cell in cells)
    # A locale without a source has an empty cell, not somebody else's.
    mixed = [*rows(noise=0.1), *rows(noise=0.1, sources=1, locale="bg-BG")]
    *_, by_source = slice_tables({"a": slices_of(mixed)})
    cells = dict(by_source.rows)["bg-BG"]
    assert [cell is None for cell in cells] == [name != "s0" for name in by_source.columns]


def test_edits_stand_beside_those_of_the_base() -> None:
    def one(hyp: str) -> list[Hypothesis]:
        return [Hypothesis(id="u", locale="el-GR", ref="ένα δύο τρία", hyp=hyp, duration_s=1.0)]

    base, tuned = confusions_of(one("ένα δέκα τρία")), confusions_of(one("ένα δέκα"))
    [found] = confusion_lists({"base": base, "tuned": tuned})
    assert [(e.said, e.written, e.count, e.before) for e in found.substitutions] == [("δύο", "δέκα", 1, 1)]
    assert [(e.said, e.count, e.before) for e in found.deletions] == [("τρία", 1, 0)]
    assert found.insertions == []
    [alone] = confusion_lists({"tuned": tuned})
    assert alone.substitutions[0].before is None
    assert confusion_lists({"tuned": confusions_of(one("ένα δύο τρία"))}) == []


def test_nothing_was_given_and_nothing_is_shown() -> None:
    assert (slice_tables({}), speaker_rows({}), confusion_lists({})) == ([], [], [])
