"""A report as Markdown says the same as the page, and text from data stays text."""

from __future__ import annotations

from datetime import datetime

from asr_ray.evaluate.gate import Finding, Gate
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages.markdown import plain, report_markdown
from asr_ray.evaluate.pages.report import ReportData
from asr_ray.evaluate.scoring.paired import compare
from asr_ray.evaluate.scoring.score import score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses


def test_text_from_data_is_text() -> None:
    assert plain("a|b *c*\n<script>") == r"a\|b \*c\* &lt;script&gt;"


def test_headline_table_gate_and_facts_are_there() -> None:
    base, tuned = made_up_hypotheses(60, noise=0.2), made_up_hypotheses(60, noise=0.6)
    lost = Finding(
        what="el-GR", unit="wer", before=0.1, after=0.3, ci95=(0.1, 0.3), limit=0.005, evidence="paired"
    )
    text = report_markdown(
        ReportData(
            title="tuned against <script>",
            created=datetime(2026, 1, 2),
            reports={"base": score_pairs(base), "tuned": score_pairs(tuned)},
            policy=GuardPolicy(targets=("el-GR",)),
            paired=compare(base, tuned),
            gate=Gate(baseline="v1", candidate="tuned", findings=[lost]),
            facts={"seed": "17"},
        )
    )
    assert "<script" not in text
    assert "**Word error rate on el-GR rises from" in text
    assert "| el-GR | target | WER | 60 |" in text
    assert "**failed**" in text
    assert "| el-GR | 10.00% | 30.00% | +20.00 | +0.5 |" in text
    assert "- seed: 17" in text
