"""One file, nothing fetched, everything escaped, losses in plain sight."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError
from asr_ray.evaluate.examples import choose_examples
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.paired import compare
from asr_ray.evaluate.report import (
    ReportData,
    guard_sentence,
    headline,
    render_report,
    write_report,
)
from asr_ray.evaluate.score import Hypothesis, score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses

NASTY = "<script>alert('ένα')</script>"


def hypotheses(*, target: float, guard: float) -> list[Hypothesis]:
    guards = made_up_hypotheses(60, noise=guard, locale="es-ES")
    return [*made_up_hypotheses(60, noise=target), *guards]


def comparison(*, guard_noise: float = 0.05) -> ReportData:
    base, tuned = hypotheses(target=0.9, guard=0.05), hypotheses(target=0.1, guard=guard_noise)
    return ReportData(
        title="Greek",
        created=datetime(2026, 1, 2, 3, 4),
        reports={"base": score_pairs(base), "tuned": score_pairs(tuned)},
        policy=GuardPolicy(targets=("el-GR",), guards=("es-ES",)),
        paired=compare(base, tuned),
        training_loss=[(1, 3.0), (2, 2.0), (3, 1.5)],
        validation={"el-GR": [(0, 0.9), (3, 0.1)], "es-ES": [(0, 0.05), (3, 0.05)]},
        planned_s={"el-GR": 600.0, "es-ES": 200.0},
        consumed_s={"el-GR": 610.0, "es-ES": 190.0},
        examples=choose_examples([("base", base), ("tuned", tuned)]),
        facts={"seed": "17"},
    )


class Balance(HTMLParser):
    """Collects tags that are opened and closed out of order."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_report_is_one_well_formed_file_that_fetches_nothing(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", data=comparison())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(page)
    assert (balance.faults, balance.open) == ([], [])
    assert re.findall(r"""(?:src|href|url|@import)\s*[=(]""", page) == []
    assert "<script" not in page
    assert len(re.findall("<svg", page)) == 4


def test_text_from_data_is_escaped_wherever_it_is_shown() -> None:
    rows = [
        Hypothesis(id=NASTY, locale="el-GR", ref=NASTY, hyp=f"{NASTY} {NASTY} δύο", duration_s=1.0),
        *made_up_hypotheses(3, noise=0.5),
    ]
    report = score_pairs(rows)
    data = ReportData(
        title=NASTY,
        created=datetime(2026, 1, 2),
        reports={NASTY: report, f"{NASTY} 2": report},
        policy=GuardPolicy(targets=()),
        validation={NASTY: [(1, 0.5)]},
        planned_s={NASTY: 10.0},
        examples=choose_examples([(NASTY, rows)]),
        facts={NASTY: NASTY},
    )
    page = render_report(data)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8


def test_headline_tells_the_result_and_what_it_cost() -> None:
    fine = comparison()
    assert re.fullmatch(r"Word error rate on el-GR falls from \d+\.\d% to \d+\.\d%\.", headline(fine))
    assert guard_sentence(fine) == "The guard locale es-ES stays within its limit of 5 points."
    unchanged = dataclasses.replace(fine, reports=dict.fromkeys(fine.reports, fine.reports["base"]))
    assert re.fullmatch(r"Word error rate on el-GR stays at \d+\.\d%\.", headline(unchanged))
    costly = comparison(guard_noise=0.4)
    assert re.fullmatch(
        r"Guard locales lose more than the allowed 5 points: es-ES \(\+\d+\.\d\)\.", guard_sentence(costly)
    )
    assert "guard beyond limit" in render_report(costly)


def test_other_views_name_what_was_resampled_and_the_languages_named() -> None:
    page = render_report(comparison())
    assert "Intervals resample utterances and are somewhat too narrow" in page
    assert "language was named right" not in page
    rows = [
        dataclasses.replace(row, hyp=f"{row.hyp} <{row.locale}>", speaker=f"speaker {index % 12}")
        for index, row in enumerate(hypotheses(target=0.1, guard=0.1))
    ]
    tagged = render_report(dataclasses.replace(comparison(), reports={"tuned": score_pairs(rows)}))
    assert "Intervals resample speakers." in tagged
    assert "language was named right" in tagged
    assert "100.0%</td></tr>" in tagged


def test_one_model_alone_has_a_report_without_comparison() -> None:
    data = comparison()
    alone = ReportData(
        title="Greek",
        created=data.created,
        reports={"tuned": data.reports["tuned"]},
        policy=GuardPolicy(targets=()),
    )
    page = render_report(alone)
    assert headline(alone).endswith("on average over 2 locales.")
    assert "verdict" not in re.sub("<style>.*</style>", "", page, flags=re.DOTALL)
    assert len(re.findall("<svg", page)) == 1


def test_audio_that_was_never_used_cannot_be_missed() -> None:
    data = dataclasses.replace(comparison(), consumed_s={"el-GR": 800.0})
    assert "Planned and never used: es-ES" in render_report(data)
    assert "Planned and never used" not in render_report(comparison())


def test_more_than_two_models_are_refused() -> None:
    data = comparison()
    reports = {**data.reports, "third": data.reports["base"]}
    with pytest.raises(ConfigError, match="pair by pair"):
        render_report(dataclasses.replace(data, reports=reports))
