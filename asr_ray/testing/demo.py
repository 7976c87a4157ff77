"""The stages of the demo, each the same call that its job makes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from asr_ray.config import load
from asr_ray.data.shards import prepare
from asr_ray.evaluate.run import Evaluation, run_evaluation
from asr_ray.model.base import name_for_jobs, resolve_base
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import DemoSettings, EvaluateSettings, PrepareSettings, TrainSettings
from asr_ray.testing.grammar import SPLITS, Split
from asr_ray.testing.speech import write_corpus
from asr_ray.train.run import run_training

SOURCE = "espeak"
"""Name of the synthetic corpus in mixes and ledgers."""


def training_settings(settings: DemoSettings) -> TrainSettings:
    """Load the run's configuration, with its folders under those of the demo."""
    folders = {
        "run_dir": settings.out / "train",
        "data.train": settings.out / "data/train",
        "data.validation": settings.out / "data/validation",
    }
    sets = [f"{key}={folder}" for key, folder in folders.items()]
    return load(settings.train, schema=TrainSettings, sets=[*sets, *settings.set]).settings


def write_speech(settings: DemoSettings, *, trained: TrainSettings) -> None:
    """Write the synthetic corpus of a run, or reuse it."""
    speech, replay = settings.speech, trained.data.mix.replay
    kept = replay.locales if replay else []
    utterances: dict[str, dict[Split, int]] = {
        locale: {
            "train": speech.replay if locale in kept else speech.train,
            "validation": speech.validation,
            "test": speech.test,
        }
        for locale in speech.locales
    }
    write_corpus(
        settings.out / "speech",
        locales=speech.locales,
        utterances=utterances,
        seed=speech.seed,
        workers=os.cpu_count() or 1,
    )


def prepare_splits(settings: DemoSettings, *, base: str) -> None:
    """Prepare each split as a user would prepare a corpus of her own."""
    tokenizer = NemoTokenizer.from_nemo(resolve_base(base))
    for split in SPLITS:
        corpus = {"path": str(settings.out / f"speech/*/{split}.jsonl"), "source": SOURCE}
        out = settings.out / "data" / split
        prepare(PrepareSettings(corpora=[corpus], out=out, tokenizer=base), tokenizer=tokenizer)  # type: ignore[list-item]  # pydantic reads the mapping


def run_demo(
    settings: DemoSettings,
    *,
    trained: TrainSettings,
    say: Callable[[str], None],
    watch: Callable[[Path], None] | None = None,
) -> Evaluation:
    """Prepare, train and evaluate on the connected Ray cluster; finished stages are reused.

    Args:
        trained: from `training_settings`.
        say: told the name of each stage.
        watch: shows the progress of the training, see `run_training`.
    """
    say("2/4 shards and catalogs")
    prepare_splits(settings, base=name_for_jobs(trained.model.base))
    say(f"3/4 training on {trained.resources.max_workers} workers")
    run_training(trained, watch=watch)
    say("4/4 base against tuned, on unseen sentences")
    [evaluation] = run_evaluation(
        EvaluateSettings(
            models={"base": name_for_jobs(trained.model.base), "tuned": str(trained.run_dir / "best.nemo")},
            data={"test": settings.out / "data/test"},
            out=settings.out / "evaluation",
            run_dir=trained.run_dir,
            guards=trained.validation.guards,
            max_guard_loss=trained.validation.max_guard_loss,
            num_actors=trained.resources.max_workers,
        )
    )
    return evaluation
