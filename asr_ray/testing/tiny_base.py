"""The two ends of making the tiny base model; `make tiny-base` runs them with the training in between.

    python -m asr_ray.testing.tiny_base --out FILE        an untrained model, for jobs/train.py
    python -m asr_ray.testing.tiny_base --adopt RUN       a trained and evaluated one, into the package

The tokenizer covers the locales of the synthetic speech.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asr_ray.errors import AsrRayError
from asr_ray.model.nemo_file import save_model, sha256_of
from asr_ray.model.tiny import BASE_MODEL, BASE_RECORD, build_tiny_model, train_tokenizer
from asr_ray.testing.grammar import draw_sentences
from asr_ray.testing.phrasebook import GRAMMARS

SENTENCES_PER_LOCALE = 1_000
"""Training sentences of each locale that the tokenizer learns its pieces from."""


def write_tiny_base(path: Path, *, seed: int) -> Path:
    """Train a tokenizer on the sentence grammar of every spoken locale, and save a random model."""
    sentences = {
        locale: draw_sentences(locale, count=SENTENCES_PER_LOCALE, seed=seed, split="train")
        for locale in GRAMMARS
    }
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(sentences, folder=Path(folder))
        return save_model(build_tiny_model(tokenizer, seed=seed), path)


def adopt(run: Path) -> Path:
    """Put the model of a run into the package, with a record of where it comes from.

    Args:
        run: folder with `best.nemo`, `summary.json`, and `evaluation/metrics.json` under the name `tiny`.
    """
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    metrics = json.loads((run / "evaluation/metrics.json").read_text(encoding="utf-8"))
    scores = metrics["models"]["tiny"]["locales"]
    _pack(run / "best.nemo", BASE_MODEL)
    record = {
        "sha256": sha256_of(BASE_MODEL),
        "made_by": "make tiny-base",
        "speech": "synthetic, espeak-ng; see asr_ray/testing/speech.py",
        "word_error_rate_on_unseen_sentences": {tag: score["rate"] for tag, score in scores.items()},
        "att_context_size": metrics["context"],
        "normaliser": metrics["normaliser"],
        "last_stage": {name: summary[name] for name in ("steps", "best_step", "consumed_s", "elapsed_s")},
    }
    BASE_RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return BASE_MODEL


def _pack(nemo: Path, target: Path) -> None:
    """Compress an archive by gzip, which NeMo reads too; the same archive gives the same bytes."""
    with (
        nemo.open("rb") as archive,
        target.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed,
    ):
        shutil.copyfileobj(archive, packed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m asr_ray.testing.tiny_base", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--out", type=Path, metavar="FILE", help="the untrained .nemo file to write")
    action.add_argument("--adopt", type=Path, metavar="RUN", help="folder of a finished, evaluated run")
    parser.add_argument("--seed", type=int, default=1, help="of the weights and the sentences (default 1)")
    options = parser.parse_args(arguments)
    try:
        path = adopt(options.adopt) if options.adopt else write_tiny_base(options.out, seed=options.seed)
    except AsrRayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{sha256_of(path)}  {path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
