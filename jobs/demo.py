"""The whole way once, on synthetic speech and a tiny model: prepare, train, evaluate, report.

    python jobs/demo.py

Tunes Greek and Bulgarian with a share of English and Spanish on two CPU workers, then compares base and
tuned on unseen sentences. Leaves everything under runs/demo; a second call reuses what is there, and
goes on with a run that was stopped.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from _cli import Job, run_job

from asr_ray.settings import DemoSettings, EvaluateSettings, PrepareSettings, TrainSettings

if TYPE_CHECKING:
    from rich.console import Console


def act(job: Job[DemoSettings]) -> None:
    """Run every stage and show the table of base against tuned."""
    from _ray import start_ray
    from rich.console import Console

    from asr_ray.config import load

    out, console = job.settings.out, Console(stderr=job.as_json, highlight=False)
    folders = {"run_dir": out / "train", "data.train": out / "data/train", "data.validation": out / "data/validation"}
    sets = [f"{key}={folder}" for key, folder in folders.items()]
    settings = load(job.settings.train, schema=TrainSettings, sets=sets).settings
    console.print("1/4 synthetic speech (espeak-ng)")
    speak(job.settings)
    console.print("2/4 shards and catalogs")
    start_ray(num_cpus=settings.resources.local_cpus)
    prepare_splits(job.settings, base=settings.model.base)
    console.print(f"3/4 training on {settings.resources.num_workers} workers")
    train(settings, console=console)
    console.print("4/4 evaluation of base and tuned on unseen sentences")
    evaluate(job, trained=settings)


def speak(settings: DemoSettings) -> None:
    """Write the corpus, or reuse it."""
    from asr_ray.testing.speech import write_corpus

    speech = settings.speech
    counts = {"train": speech.train, "validation": speech.validation, "test": speech.test}
    workers = os.cpu_count() or 1
    write_corpus(settings.out / "speech", locales=speech.locales, utterances=counts, seed=speech.seed, workers=workers)


def prepare_splits(settings: DemoSettings, *, base: str) -> None:
    """Prepare each split as a user would prepare a corpus."""
    from asr_ray.data.shards import prepare
    from asr_ray.model.base import resolve_base
    from asr_ray.model.tokens import NemoTokenizer

    tokenizer = NemoTokenizer.from_nemo(resolve_base(base))
    for split in ("train", "validation", "test"):
        corpus = {"path": str(settings.out / f"speech/*/{split}.jsonl"), "source": "espeak"}
        prepare(PrepareSettings(corpora=[corpus], out=settings.out / "data" / split, tokenizer=base), tokenizer=tokenizer)


def train(settings: TrainSettings, *, console: Console) -> None:
    """Train, or go on where a stopped demo left off."""
    from asr_ray.train.progress import Progress
    from asr_ray.train.run import run_training

    with Progress(settings, console=console) as progress:
        run_training(settings, watch=progress.update)


def evaluate(job: Job[DemoSettings], *, trained: TrainSettings) -> None:
    """Compare base and tuned, leave the report and show the table."""
    from asr_ray.evaluate.run import run_evaluation
    from asr_ray.evaluate.tables import locale_rows, score_table

    settings = EvaluateSettings(
        models={"base": trained.model.base, "tuned": str(trained.run_dir / "best.nemo")},
        data=job.settings.out / "data/test",
        out=job.settings.out / "evaluation",
        run_dir=trained.run_dir,
        guards=trained.validation.guards,
        max_guard_loss=trained.validation.max_guard_loss,
        num_actors=trained.resources.num_workers,
    )
    result = run_evaluation(settings)
    rows = locale_rows(result.reports, paired=result.paired, policy=result.policy)
    job.show(
        {name: report.to_json() for name, report in result.reports.items()},
        human=lambda console: console.print(
            score_table(rows, names=list(result.reports)), f"report: {result.out / 'report.html'}"
        ),
    )


if __name__ == "__main__":
    sys.exit(run_job(__doc__, schema=DemoSettings, act=act))
