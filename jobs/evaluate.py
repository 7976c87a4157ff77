"""Decode one or more models on the same speech and compare them, locale by locale.

    python jobs/evaluate.py --config configs/evaluation/example.yaml
    python jobs/evaluate.py --set 'models={base: tiny, tuned: runs/x/best.nemo}' \\
        --set data=data/test --set out=runs/x/evaluation

Writes OUT/<model>/results.jsonl with raw hypotheses, OUT/metrics.json and OUT/report.html.
"""

from __future__ import annotations

import json
import sys

from _cli import Job, run_job

from asr_ray.settings import EvaluateSettings


def act(job: Job[EvaluateSettings]) -> None:
    """Evaluate and show the table."""
    from _ray import start_ray

    from asr_ray.evaluate.run import run_evaluation
    from asr_ray.evaluate.tables import locale_rows, score_table

    start_ray()
    result = run_evaluation(job.settings)
    rows = locale_rows(result.reports, paired=result.paired, policy=result.policy)
    document = json.loads((result.out / "metrics.json").read_text(encoding="utf-8"))
    job.show(
        document,
        human=lambda console: console.print(
            score_table(rows, names=list(result.reports)), f"report: {result.out / 'report.html'}"
        ),
    )


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=EvaluateSettings, act=act))
