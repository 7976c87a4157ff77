"""One file, nothing fetched, everything escaped, losses in plain sight."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError
from asr_ray.evaluate.gate import Finding, Gate
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages.examples import choose_examples
from asr_ray.evaluate.pages.latency import latency_curves
from asr_ray.evaluate.pages.report import (
    ReportData,
    guard_sentence,
    headline,
    render_report,
    write_report,
)
from asr_ray.evaluate.scoring.confusions import confusions_of
from asr_ray.evaluate.scoring.paired import compare
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs
from asr_ray.evaluate.scoring.slices import slices_of
from asr_ray.locales import LOCALES
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
    assert re.findall(r"""(?:src|href|url|@import)\s*[=(](?!"data:audio/)""", page) == []
    assert "<script" not in page
    assert len(re.findall("<svg", page)) == 4


def test_text_from_data_is_escaped_wherever_it_is_shown() -> None:
    rows = [
        Hypothesis(
            id=f"{NASTY}{index}",
            locale="el-GR",
            ref=f"{NASTY} ένα",
            hyp=f"{NASTY} {NASTY} δύο",
            duration_s=1.0,
            speaker=f"{NASTY}{index % 2}",
            source=f"{NASTY}{index % 2}",
        )
        for index in range(20)
    ]
    report, names = score_pairs(rows), (NASTY, f"{NASTY} 2")
    lost = Finding(
        what=NASTY, unit="wer", before=0.1, after=0.3, ci95=(0.1, 0.3), limit=0.005, evidence="paired"
    )
    data = ReportData(
        title=NASTY,
        created=datetime(2026, 1, 2),
        decoding=NASTY,
        reports=dict.fromkeys(names, report),
        gate=Gate(baseline=NASTY, candidate=NASTY, findings=[lost], new=[NASTY]),
        slices=dict.fromkeys(names, slices_of(rows)),
        confusions=dict.fromkeys(names, confusions_of(rows)),
        curves=latency_curves({context: dict.fromkeys(names, report) for context in ((56, 0), (56, 3))}),
        clips={f"{NASTY}{index}": "data:audio/ogg;base64,T2dnUw==" for index in range(20)},
        policy=GuardPolicy(targets=()),
        validation={NASTY: [(1, 0.5)]},
        planned_s={NASTY: 10.0},
        examples=choose_examples([(NASTY, rows)]),
        facts={NASTY: NASTY},
    )
    page = render_report(data)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8
    for section in ("Gate: ", "By source", "By speaker", "Most frequent errors", "against latency", "<audio"):
        assert section in page


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


def test_errors_are_shown_by_slice_and_by_word_beside_those_of_the_base() -> None:
    base, tuned = hypotheses(target=0.9, guard=0.05), hypotheses(target=0.1, guard=0.05)
    both = {"base": base, "tuned": tuned}
    page = render_report(
        dataclasses.replace(
            comparison(),
            slices={name: slices_of(rows) for name, rows in both.items()},
            confusions={name: confusions_of(rows) for name, rows in both.items()},
        )
    )
    assert "By duration" in page
    # Without these, nothing of them.
    assert "By source" not in page
    assert "By speaker" not in page
    assert "how often base made the same error" in page
    assert re.search(r"Largest gains: \d+ of 120 utterances, \d+ shown", page)


def test_speech_is_counted_and_its_size_is_stated() -> None:
    data = comparison()
    shown = [example.id for group in data.examples for example in group.examples]
    clip = "data:audio/ogg;base64," + "A" * 978
    page = render_report(dataclasses.replace(data, clips=dict.fromkeys(shown[:2], clip)))
    assert page.count(f'src="{clip}"') == 2
    assert f"2 of {len(shown)} can be heard: 2 kB of this file are their speech" in page
    assert "<audio" not in render_report(data)


def test_a_gate_says_what_it_judged_and_what_it_did_not() -> None:
    def finding(after: float) -> Finding:
        return Finding(
            what="el-GR", unit="wer", before=0.1, after=after, ci95=(0.02, 0.2), limit=0.01, evidence="mean"
        )

    def page(after: float) -> str:
        gate = Gate(baseline="v1", candidate="tuned", findings=[finding(after)], new=["mt-MT"])
        return render_report(dataclasses.replace(comparison(), gate=gate))

    assert "tuned fails the gate against v1: el-GR (+20.0 points)." in page(0.3)
    assert "no score for them: mt-MT" in page(0.3)
    assert "The gate against v1 passes tuned." in page(0.105)
    assert "fails" not in page(0.105).partition("</style>")[2].replace("A rate fails when", "")


def test_more_than_two_models_are_refused() -> None:
    data = comparison()
    reports = {**data.reports, "third": data.reports["base"]}
    with pytest.raises(ConfigError, match="pair by pair"):
        render_report(dataclasses.replace(data, reports=reports))


def many_locales(count: int) -> ReportData:
    """A target that gains, a guard that breaks, and others that stay as they were."""
    tags = ["el-GR", "nb-NO", *(tag for tag in LOCALES if tag not in ("el-GR", "nb-NO"))][:count]
    noises = {"el-GR": (0.9, 0.1), "nb-NO": (0.05, 0.6)}
    base, tuned = (
        [
            row
            for tag in tags
            for row in made_up_hypotheses(20, noise=noises.get(tag, (0.1, 0.1))[index], locale=tag)
        ]
        for index in range(2)
    )
    rates = {tag: [(0, 0.2), (3, 0.8 if tag == "nb-NO" else 0.2)] for tag in tags}
    return ReportData(
        title="many",
        created=datetime(2026, 1, 2, 3, 4),
        reports={"base": score_pairs(base), "tuned": score_pairs(tuned)},
        policy=GuardPolicy(targets=("el-GR",), guards=tuple(tags[1:])),
        paired=compare(base, tuned),
        validation=rates,
        slices={"base": slices_of(base), "tuned": slices_of(tuned)},
        confusions={"base": confusions_of(base), "tuned": confusions_of(tuned)},
        examples=choose_examples([("base", base), ("tuned", tuned)], per_locale=1),
    )


def chips_of(page: str) -> list[str]:
    return re.findall(r'<li class="chip [^"]*"><b>([^<]+)</b>', page)


def test_of_few_locales_everything_is_said_and_open() -> None:
    page = render_report(many_locales(4))
    assert len(chips_of(page)) == 4
    assert '<details class="group"' not in page


def test_of_many_locales_what_changed_is_said_and_the_rest_is_folded() -> None:
    page = render_report(many_locales(40))
    assert chips_of(page) == ["el-GR", "nb-NO", "38 other locales"]
    balance = Balance()
    balance.feed(page)
    assert (balance.faults, balance.open) == ([], [])
    # By duration, and the groups of utterances.
    assert page.count('<details class="group"') >= 2
    assert "<details open" not in page
    # The target and the guards that lost most have names in the plot, forty would hide each other.
    assert page.count('class="series-label') == 6
    assert re.search(r'class="series-label [^"]*"[^>]*>nb-NO<', page)
    # Nobody is left out of the table.
    assert all(f"<b>{tag}</b>" in page for tag in LOCALES)
