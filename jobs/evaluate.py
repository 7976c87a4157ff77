"""Decode one or more models on the same speech and compare them, locale by locale.

    python jobs/evaluate.py --config configs/evaluation/example.yaml
    python jobs/evaluate.py --set 'models={base: tiny, tuned: runs/x/best.nemo}' \\
        --set data=data/test --set out=runs/x/evaluation
    python jobs/evaluate.py --config configs/evaluation/example.yaml \\
        --set 'att_context_size=[[56, 0], [56, 3], [56, 13]]' --set 'mode=[offline, streaming]'
    python jobs/evaluate.py --config configs/evaluation/example.yaml --compare released/metrics.json

Writes OUT/<model>/results.jsonl with raw hypotheses, OUT/metrics.json, report.html, report.md, MODEL_CARD.md
and summary.json; with several contexts, modes, prompts or test sets, results and reports of each are in
OUT/<data>/<context>-<mode>-<prompt>, and OUT/metrics.json holds all. A job that was stopped goes on where it
was; what is decoded is not decoded again. With --compare, exit code 7 means that a locale got worse than
allowed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import EvaluateSettings

if TYPE_CHECKING:
    from rich.console import Console

    from asr_ray.evaluate.run import Evaluation


def act(job: Job[EvaluateSettings]) -> None:
    """Evaluate and show the tables."""
    from _progress import progress_bars
    from _ray import start_ray

    from asr_ray.evaluate.run import METRICS, regression_of, run_evaluation

    start_ray()
    with progress_bars("check", "write", "decode") as progress:
        evaluations = run_evaluation(job.settings, progress=progress)
    document = json.loads((job.settings.out / METRICS).read_text(encoding="utf-8"))
    job.show(document, human=lambda console: draw(console, evaluations))
    if (regression := regression_of(evaluations)) is not None:
        raise regression


def draw(console: Console, evaluations: Sequence[Evaluation]) -> None:
    """Draw each condition: base against each other model, or the only model alone."""
    for evaluation in evaluations:
        draw_one(console, evaluation)


def draw_one(console: Console, evaluation: Evaluation) -> None:
    """Draw the tables of one condition, and say how fast it was decoded."""
    from asr_ray.evaluate.pages.tables import ScoreTable, locale_rows

    base, *others = evaluation.reports
    console.print(f"{evaluation.condition.data}: {evaluation.condition.in_words}")
    for names in [[base, other] for other in others] or [[base]]:
        rows = locale_rows(
            {name: evaluation.reports[name] for name in names},
            paired=[result for result in evaluation.paired if result.candidate == names[-1]],
            policy=evaluation.policy,
        )
        console.print(ScoreTable(rows, names=names))
    for name, speed in evaluation.document["speed"].items():
        console.print(f"{name}: {speed['rtfx']:g} s of audio per second of an actor")
    console.print(f"report: {evaluation.out / 'report.html'}")


if __name__ == "__main__":
    shortcuts = {"compare": "compare.baseline"}
    sys.exit(run_job(__doc__, schema=EvaluateSettings, act=act, shortcuts=shortcuts))
