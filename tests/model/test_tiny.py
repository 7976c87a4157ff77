from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.locales import LOCALES
from asr_ray.model import tiny
from asr_ray.model.nemo_file import MODEL_TARGET, save_model, sha256_of
from asr_ray.model.tiny import TinySize, build_tiny_model, train_tokenizer

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

MAX_FILE_BYTES = 8 * 1024**2


def test_the_shape_of_the_released_model(micro_model: EncDecRNNTBPEModelWithPrompt) -> None:
    encoder = micro_model.encoder
    assert f"{type(micro_model).__module__}.{type(micro_model).__name__}" == MODEL_TARGET
    assert encoder.att_context_size_all == [[56, 3], [56, 0], [56, 6], [56, 13]]
    assert encoder.att_context_style == "chunked_limited"
    assert encoder.subsampling_factor == 8
    assert encoder.conv_context_size == [8, 0]
    assert micro_model.prompt_kernel[0].in_features == encoder.d_model + 128
    assert micro_model.cfg.preprocessor.normalize == "NA"


def test_the_full_size_fits_a_repository(
    tmp_path: Path, sentences: Mapping[str, Sequence[str]], tokenizer_folder: Path
) -> None:
    path = save_model(build_tiny_model(tokenizer_folder, seed=1), tmp_path / "tiny.nemo")
    spare = (tiny.VOCABULARY_SIZE - 256) * 4 * 2 * (128 + 1)  # embedding and joint rows of the other pieces
    assert path.stat().st_size + spare < MAX_FILE_BYTES


def test_weights_follow_the_seed_and_leave_the_generator_alone(
    tokenizer_folder: Path, micro_size: TinySize, micro_model: EncDecRNNTBPEModelWithPrompt
) -> None:
    before = torch.random.get_rng_state()
    same = build_tiny_model(tokenizer_folder, seed=3, size=micro_size).prompt_kernel[0].weight
    other = build_tiny_model(tokenizer_folder, seed=4, size=micro_size).prompt_kernel[0].weight
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(same, micro_model.prompt_kernel[0].weight)
    assert not torch.equal(same, other)


def test_nemo_vocabulary_leaves_out_the_unknown_piece(tokenizer_folder: Path) -> None:
    pieces = (tokenizer_folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert len(pieces) == 255
    assert "<unk>" not in pieces
    assert {f"<{tag}>" for tag in LOCALES} <= set(pieces)


@pytest.mark.parametrize("vocabulary_size", [60, 50_000])
def test_impossible_vocabularies_are_named(
    tmp_path: Path, sentences: Mapping[str, Sequence[str]], vocabulary_size: int
) -> None:
    with pytest.raises(ConfigError, match=f"{vocabulary_size} pieces"):
        train_tokenizer(sentences, folder=tmp_path, vocabulary_size=vocabulary_size)


def test_the_base_model_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, record = tmp_path / "tiny-base.nemo", tmp_path / "tiny-base.json"
    monkeypatch.setattr(tiny, "BASE_MODEL", model)
    monkeypatch.setattr(tiny, "BASE_RECORD", record)
    with pytest.raises(EnvironmentFault, match="not installed"):
        tiny.base_model_path()
    model.write_text("weights")
    record.write_text(json.dumps({"sha256": sha256_of(model)}))
    assert tiny.base_model_path() == model
    model.write_text("other weights")
    with pytest.raises(EnvironmentFault, match=r"tiny-base\.json"):
        tiny.base_model_path()
