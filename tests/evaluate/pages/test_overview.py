"""Several conditions on one page: each of them linked, what failed named, all text escaped."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.gate import Finding, Gate
from asr_ray.evaluate.pages.overview import OverviewData, render_overview
from asr_ray.evaluate.scoring.paired import compare_prompts
from asr_ray.evaluate.scoring.score import score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses

NASTY = "<script>alert(1)</script>"


def data(**changes: Any) -> OverviewData:
    rows, tuned = made_up_hypotheses(20, noise=0.2), made_up_hypotheses(20, noise=0.1)
    conditions = [
        Condition(data="test", att_context_size=context, mode="offline", prompt=prompt)
        for context in ((56, 3), (56, 0))
        for prompt in ("locale", "auto")
    ]
    reports = {NASTY: score_pairs(rows), "tuned": score_pairs(tuned)}
    values: dict[str, Any] = {
        "created": datetime(2026, 1, 2),
        "reports": dict.fromkeys(conditions, reports),
        "gates": {},
        "speeds": dict.fromkeys(conditions, dict.fromkeys(reports, 12.5)),
        "prompts": {(conditions[0], NASTY): compare_prompts(rows, tuned)},
    }
    return OverviewData(**values | changes)


def test_every_condition_is_linked_and_text_is_escaped() -> None:
    page = render_overview(data())
    for context in ("56-3", "56-0"):
        for prompt in ("locale", "auto"):
            assert f'href="test/{context}-offline-{prompt}/report.html"' in page
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert "2 models under 4 conditions." in page
    # Tags were stripped, so nothing is said of them.
    assert "language right" not in page


def test_what_the_gate_does_not_let_pass_is_said_first() -> None:
    lost = Finding(
        what="el-GR", unit="wer", before=0.1, after=0.3, ci95=(0.1, 0.3), limit=0.0, evidence="paired"
    )
    conditions = list(data().reports)
    gates = {
        condition: Gate(baseline="v1", candidate="tuned", findings=[lost] if place == 0 else [])
        for place, condition in enumerate(conditions)
    }
    page = render_overview(data(gates=gates))
    assert "The gate fails under 1 of 4 conditions." in page
    assert "el-GR (+20.0)" in page
    passing = dict.fromkeys(conditions, gates[conditions[1]])
    assert "The gate passes under all of 4 conditions." in render_overview(data(gates=passing))
