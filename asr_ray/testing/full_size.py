"""A model with random weights in the true size of Nemotron 3.5 ASR: what a small one hides.

    python -m asr_ray.testing.full_size --out FILE        needs 6 GB of memory and writes 2.5 GB

It knows nothing and never will: its tokenizer holds every language tag, all letters of the alphabets below,
and made-up syllables up to the size of the released vocabulary.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asr_ray.errors import AsrRayError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS
from asr_ray.model.nemo_file import save_model
from asr_ray.model.tiny import TinySize, build_tiny_model, train_tokenizer

VOCABULARY_SIZE = 13_087
"""Pieces of the released model without the blank."""

FULL_SIZE = TinySize(
    d_model=1024,
    num_layers=24,
    num_heads=8,
    ff_expansion=4,
    subsampling_channels=256,
    num_mels=128,
    prediction_hidden=640,
    prediction_layers=2,
    joint_hidden=640,
    dropout=0.1,
)
"""Of the released model, by its card and by the configuration that transformers has of it."""

ALPHABETS: Mapping[str, str] = {
    "en-US": "abcdefghijklmnopqrstuvwxyz",
    "el-GR": "αβγδεζηθικλμνξοπρστυφχψω",
    "ru-RU": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
}

_WORDS_PER_SENTENCE = 8
_SENTENCES_PER_ALPHABET = 1_500


def made_up_sentences(*, seed: int) -> dict[str, list[str]]:
    """Return sentences of random words of three to nine letters, by locale."""
    rng = np.random.default_rng(seed)
    return {
        locale: [_sentence(list(letters), rng=rng) for _ in range(_SENTENCES_PER_ALPHABET)]
        for locale, letters in ALPHABETS.items()
    }


def _sentence(letters: Sequence[str], *, rng: np.random.Generator) -> str:
    lengths = rng.integers(3, 10, size=_WORDS_PER_SENTENCE)
    return " ".join("".join(rng.choice(letters, size=length)) for length in lengths)


def write_full_size(path: Path, *, seed: int = 1, size: TinySize = FULL_SIZE) -> Path:
    """Write a `.nemo` file of a model with random weights."""
    tags = [key for key in DEFAULT_PROMPT_SLOTS if "-" in key]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(
            made_up_sentences(seed=seed), folder=Path(folder), vocabulary_size=VOCABULARY_SIZE, tags=tags
        )
        return save_model(build_tiny_model(tokenizer, seed=seed, size=size), path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and write the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m asr_ray.testing.full_size", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the .nemo file to write")
    parser.add_argument("--seed", type=int, default=1, help="of weights and tokenizer (default 1)")
    options = parser.parse_args(arguments)
    try:
        path = write_full_size(options.out, seed=options.seed)
    except AsrRayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
