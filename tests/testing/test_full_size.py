"""The true size: what is written has it, and a machine with 24 GB takes an optimizer step with it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from asr_ray.locales import DEFAULT_PROMPT_SLOTS
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.model.tiny import TinySize
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.testing.full_size import FULL_SIZE, VOCABULARY_SIZE, made_up_sentences, write_full_size


def test_a_small_encoder_with_the_true_vocabulary(tmp_path: Path, micro_size: TinySize) -> None:
    small = dataclasses.replace(micro_size, prediction_layers=2)
    path = write_full_size(tmp_path / "wide.nemo", size=small)
    archive, tokenizer = inspect_nemo(path), NemoTokenizer.from_nemo(path)
    assert archive.vocabulary_size == tokenizer.vocabulary_size == VOCABULARY_SIZE
    assert archive.prompt_table.num_slots == 128
    assert dict(archive.prompt_table.slots) == DEFAULT_PROMPT_SLOTS
    assert archive.config["decoder"]["prednet"]["pred_rnn_layers"] == 2
    text = made_up_sentences(seed=2)["ru-RU"][0] + " <nn-NO>"
    ids = tokenizer.encode(text)
    assert tokenizer.unknown_id not in ids
    assert tokenizer.decode(ids) == text


@pytest.mark.slow
def test_one_step_of_the_true_size_fits_into_24_gb(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.full_size", "--model", str(tmp_path / "full.nemo")]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True, timeout=1500
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    archive = inspect_nemo(tmp_path / "full.nemo")
    assert (archive.num_encoder_layers, archive.vocabulary_size) == (FULL_SIZE.num_layers, 13_087)
    assert archive.config["encoder"]["d_model"] == 1024
    assert 600e6 < found["parameters"] < 650e6
    assert found["finite"]
    assert found["moved_share"] > 0.9
    assert found["peak_gb"] < 24
