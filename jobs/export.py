"""Hand over the model of a run: one .nemo, a record of what it is, and a model card.

    python jobs/export.py --set run_dir=runs/my-run
    python jobs/export.py --set run_dir=runs/my-run --set checkpoint=last --set name=my-run-preview
    python jobs/export.py --set run_dir=runs/my-run --set evaluation=runs/my-run/evaluation/metrics.json

Writes OUT/NAME.nemo, which stock NeMo restores, OUT/NAME.json and OUT/NAME.md: base and its checksum,
configuration, hours by locale and source, validation and evaluation, contexts, prompts, versions, how to
load it. The checkpoint is the best, the last, or the number of a step. Needs neither Ray nor a GPU. Formats
of other runtimes are not written yet.
"""

from __future__ import annotations

import sys

from _cli import Job, run_job

from asr_ray.settings import ExportSettings


def act(job: Job[ExportSettings]) -> None:
    """Export and say what was written."""
    from rich.console import Console

    from asr_ray.train.handover.export import export_run

    export = export_run(job.settings)

    def draw(console: Console) -> None:
        model = export.record["model"]
        steps = ", ".join(map(str, export.record["made_of"]["steps"]))
        console.print(f"step {steps}: {export.model}, {model['bytes'] / 1e6:,.1f} MB")
        console.print(f"sha256 {model['sha256']}")
        console.print(f"record: {export.record_file}\ncard: {export.card}")
        if not export.record["evaluation"]:
            console.print(
                f"next: python jobs/evaluate.py --set 'models={{{job.settings.stem}: {export.model}}}' "
                f"--set data=PREPARED_TEST --set out={job.settings.folder / 'evaluation'}",
                soft_wrap=True,
            )

    job.show(export.record, human=draw)


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=ExportSettings, act=act))
