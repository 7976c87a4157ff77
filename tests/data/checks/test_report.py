"""The report tells what was found, loads nothing, and no text of a corpus can become part of its markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from asr_ray.data.checks.findings import Findings
from asr_ray.data.checks.plots import NUM_SERIES_COLOURS, colour_of_source, duration_plot, hours_plot, legend
from asr_ray.data.checks.profile import Histogram
from asr_ray.data.checks.report import headline, render_data_report, write_findings
from asr_ray.data.checks.summary import Prepared
from asr_ray.errors import DataError
from asr_ray.records import Reason
from asr_ray.testing.findings import findings_with, rejected_row

WHEN = datetime(2026, 11, 23, 12, 0)
EVIL = "<script>alert('x')</script>"


def page_of(findings: Findings) -> str:
    return render_data_report(findings, created=WHEN)


@pytest.fixture(scope="module")
def findings() -> Findings:
    rows = [rejected_row(Reason.MOJIBAKE, detail="it was 'ναι'"), rejected_row(Reason.DUPLICATE_AUDIO)]
    counts = {("el-GR", "radio"): 900, ("el-GR", "books"): 450, ("bg-BG", "radio"): 300}
    return findings_with(counts, rejected=rows, held_out=[], texts=40)


def test_everything_found_is_told(findings: Findings) -> None:
    page = page_of(findings)

    assert "1.8 h of speech in 2 locales can be trained on." in re.sub("</?span>", "", page)
    for text in (
        "1,650",
        "mojibake",
        "it was &#39;ναι&#39;",
        "duplicate-audio",
        "m.jsonl:1",
        "sentence 0",
        "Words that more than 20 rows",
        "2026-11-23 12:00",
    ):
        assert text in page
    assert page.count("<svg") == 3


def test_drawings_are_well_formed_and_name_each_locale(findings: Findings) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page_of(findings), re.DOTALL):
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-label"]
    hours = hours_plot(findings.summary.prepared)
    assert hours.index("el-GR") < hours.index("bg-BG")
    assert "el-GR, books: 30.0 minutes" in hours or "el-GR, books: 0.5 hours" in hours


def test_nothing_is_fetched_and_nothing_runs(findings: Findings) -> None:
    page = page_of(findings)

    assert not re.search(r"https?://|src=|<link|@import|url\(|<script", page)


def test_text_of_a_corpus_is_escaped_wherever_it_stands() -> None:
    rows = [replace(rejected_row(Reason.BAD_JSON, detail=EVIL), origin=EVIL, source=EVIL, locale=EVIL)]
    found = findings_with({("el-GR", EVIL): 50}, rejected=rows, source=EVIL, texts=1, max_rejected_share=1)
    overlaps = found.summary.overlaps
    texts = tuple(replace(each, text=EVIL) for each in overlaps.most_repeated)
    summary = replace(found.summary, overlaps=replace(overlaps, most_repeated=texts))

    page = page_of(replace(found, summary=summary))

    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_a_limit_that_is_broken_is_the_headline() -> None:
    found = findings_with({("el-GR", "radio"): 50, ("bg-BG", "radio"): 50}, rejected=[rejected_row()])

    assert headline(found) == "Too many rows of el-GR are faulty to train on this."
    assert page_of(found).count("above the limit") == 1


def test_held_out_speech_in_the_shards_is_no_success() -> None:
    found = findings_with({("el-GR", "radio"): 50}, held_out=[1, 2])

    leaked = replace(found, error=DataError("held out"))

    assert headline(leaked) == "3.3 min of speech in 1 locale, but some of it is held out for judging."
    assert "rows of held-out speech, 2 of them kept" in page_of(leaked)


def test_a_corpus_without_a_usable_row_has_a_report_without_drawings() -> None:
    found = findings_with({}, rejected=[rejected_row()])

    page = page_of(found)

    assert headline(found) == "No row of the corpora can be used."
    assert "<svg" not in page
    assert "truncated" in page


def test_findings_are_written_as_three_files(findings: Findings, tmp_path: Path) -> None:
    write_findings(tmp_path, findings)

    assert {path.name for path in tmp_path.iterdir()} == {
        "summary.json",
        "quarantine.parquet",
        "data_report.html",
    }
    assert json.loads((tmp_path / "summary.json").read_text())["rejected_rows"] == 2


def test_many_sources_share_the_last_colour_and_one_line_of_the_legend() -> None:
    prepared = [
        Prepared(locale="el-GR", source=f"s{rank:02d}", utterances=1, hours=100.0 - rank)
        for rank in range(20)
    ]

    colours = colour_of_source(prepared)

    assert colours["s00"] == 0
    assert set(colours.values()) == set(range(NUM_SERIES_COLOURS))
    assert list(legend(colours)) == ["s00", "s01", "s02", "s03", "s04", "15 smaller sources"]
    assert legend({"a": 0, "b": 1}) == {"a": 0, "b": 1}


@pytest.mark.parametrize("counts", [(1,), (0, 3, 1), (5,) * 40])
def test_a_histogram_draws_one_bar_for_each_bin(counts: tuple[int, ...]) -> None:
    drawn = duration_plot(Histogram(start_s=0.0, width_s=0.5, counts=counts))

    assert drawn.count('class="bar"') == len(counts)
    assert "0 to 0.5 s" in drawn
