"""Build the untrained tiny base model: `python -m asr_ray.testing.tiny_base --out FILE --seed 1`.

Its tokenizer covers the locales of the synthetic speech; its weights are random until `jobs/train.py`
has trained them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asr_ray.errors import AsrRayError
from asr_ray.model.nemo_file import save_model, sha256_of
from asr_ray.model.tiny import build_tiny_model, train_tokenizer
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m asr_ray.testing.tiny_base", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .nemo file to write")
    parser.add_argument("--seed", type=int, default=1, help="of the weights and the sentences (default 1)")
    options = parser.parse_args(arguments)
    try:
        path = write_tiny_base(options.out, seed=options.seed)
    except AsrRayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{sha256_of(path)}  {path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
