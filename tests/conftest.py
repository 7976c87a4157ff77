"""What all tests share: one small Ray cluster and one random-weight model per test session."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

from asr_ray.model.nemo_file import load_model, save_model
from asr_ray.model.tiny import TinySize, build_tiny_model, train_tokenizer
from asr_ray.testing.grammar import draw_sentences
from asr_ray.testing.phrasebook import GRAMMARS

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

# Read when Ray is imported, in this process and in those it starts.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

MICRO = TinySize(
    d_model=32,
    num_layers=2,
    num_heads=2,
    subsampling_channels=8,
    prediction_hidden=32,
    joint_hidden=32,
)
"""Smaller than tiny: for everything but the file size, the class matters and not the capacity."""


@pytest.fixture(autouse=True)
def gradual_underflow() -> Iterator[None]:
    """As hypothesis wants it; a run flushes denormal numbers for the rest of its process."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray of four CPUs (logical ones: the machine may have fewer)."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def sentences() -> Mapping[str, Sequence[str]]:
    """A hundred sentences of each spoken locale."""
    return {locale: draw_sentences(locale, count=100, seed=0) for locale in GRAMMARS}


@pytest.fixture(scope="session")
def tokenizer_folder(
    tmp_path_factory: pytest.TempPathFactory, sentences: Mapping[str, Sequence[str]]
) -> Path:
    """A trained tokenizer of 256 pieces."""
    return train_tokenizer(sentences, folder=tmp_path_factory.mktemp("tokenizer"), vocabulary_size=256)


@pytest.fixture(scope="session")
def micro_size() -> TinySize:
    """Sizes of `micro_nemo`."""
    return MICRO


@pytest.fixture(scope="session")
def micro_nemo(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A saved random-weight model."""
    model = build_tiny_model(tokenizer_folder, seed=3, size=MICRO)
    return save_model(model, tmp_path_factory.mktemp("model") / "micro.nemo")


@pytest.fixture(scope="session")
def micro_model(micro_nemo: Path) -> EncDecRNNTBPEModelWithPrompt:
    """The model of `micro_nemo`, restored; tests leave it as it is."""
    return load_model(micro_nemo)
