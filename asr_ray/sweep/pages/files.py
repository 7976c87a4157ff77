"""The files that a sweep leaves for people and for the run that goes on from it."""

from __future__ import annotations

import json
from pathlib import Path

from asr_ray.config import dump
from asr_ray.files import write_whole
from asr_ray.sweep.deciding.conclude import Conclusion
from asr_ray.sweep.pages.log_entry import log_entry
from asr_ray.sweep.pages.report import render_sweep

WINNER, LOG_ENTRY, REPORT, DECISION = "winner.yaml", "decision.md", "report.html", "decision.json"


def write_conclusion(out: Path, conclusion: Conclusion) -> None:
    """Write winner.yaml, decision.md, report.html; decision.json last: who finds it finds the others."""
    write_whole(out / WINNER, dump(conclusion.winner))
    write_whole(out / LOG_ENTRY, log_entry(conclusion))
    write_whole(out / REPORT, render_sweep(conclusion))
    # Values of trials may be of any kind that YAML knows, dates among them.
    tree = json.dumps(conclusion.to_json(), indent=1, ensure_ascii=False, default=str)
    write_whole(out / DECISION, tree)
