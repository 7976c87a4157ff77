"""Rows are ordered by role, and a guard beyond its limit is said so everywhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from asr_ray.errors import ConfigError
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages.tables import LocaleRow, ScoreTable, locale_rows, markdown_table, points
from asr_ray.evaluate.scoring.paired import compare
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses

POLICY = GuardPolicy(targets=("el-GR",), guards=("es-ES", "en-US"), max_guard_loss=0.05)
LOCALES = ("bg-BG", "el-GR", "en-US", "es-ES")


def hypotheses(noises: tuple[float, ...]) -> list[Hypothesis]:
    return [
        row
        for locale, noise in zip(LOCALES, noises, strict=True)
        for row in made_up_hypotheses(60, noise=noise, locale=locale)
    ]


def comparison() -> list[LocaleRow]:
    base, tuned = hypotheses((0.3, 0.9, 0.05, 0.05)), hypotheses((0.3, 0.1, 0.05, 0.3))
    reports = {"base": score_pairs(base), "tuned": score_pairs(tuned)}
    return locale_rows(reports, paired=compare(base, tuned), policy=POLICY)


def test_targets_come_first_then_guards_then_the_rest() -> None:
    rows = comparison()
    assert [(row.locale, row.role) for row in rows] == [
        ("el-GR", "target"),
        ("es-ES", "guard"),
        ("en-US", "guard"),
        ("bg-BG", "other"),
    ]
    assert [row.within_limit for row in rows] == [None, False, True, None]


def test_terminal_table_names_what_is_beyond_its_limit() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(ScoreTable(comparison(), names=["base", "tuned"]))
    lines = [line for line in console.export_text().splitlines() if "-" in line]
    assert "better" in next(line for line in lines if "el-GR" in line)
    assert "worse (beyond limit)" in next(line for line in lines if "es-ES" in line)
    assert "no difference" in next(line for line in lines if "en-US" in line)


@pytest.mark.parametrize("names", [["base"], ["base", "tuned"]])
def test_markdown_rows_have_as_many_cells_as_heads(names: list[str]) -> None:
    rows = comparison()
    if len(names) == 1:
        rows = locale_rows({"base": score_pairs(hypotheses((0.3, 0.9, 0.05, 0.05)))}, policy=POLICY)
    lines = markdown_table(rows, names=names).splitlines()
    assert len(lines) == 2 + len(LOCALES)
    assert len({line.count("|") for line in lines}) == 1


def test_models_that_cannot_be_lined_up_are_an_error() -> None:
    one = score_pairs(made_up_hypotheses(5, noise=0.1))
    other = score_pairs(made_up_hypotheses(5, noise=0.1, locale="bg-BG"))
    for reports in ({}, {"a": one, "b": other}, {"a": one, "b": one, "c": one}):
        with pytest.raises(ConfigError):
            locale_rows(reports, policy=POLICY)


def test_numbers_are_written_with_their_sign() -> None:
    assert (points(-0.0123), points(0.05, digits=1), points(0.000001)) == ("−1.23", "+5.0", "±0.00")


@pytest.mark.parametrize(("width", "has_intervals"), [(80, False), (130, True)])
def test_in_a_narrow_terminal_each_locale_still_has_one_line(width: int, has_intervals: bool) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    rows = comparison()
    console.print(ScoreTable(rows, names=["base", "tuned"]))
    text = console.export_text()
    assert ("[" in text) is has_intervals
    assert "…" not in text
    lines = [line.split() for line in text.splitlines()]
    for row in rows:
        (cells,) = [cells for cells in lines if row.locale in cells]
        assert cells[-1] in ("better", "worse", "difference", "limit)", "│")
