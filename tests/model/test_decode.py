"""Whole utterances: the language, the context and the tags reach the text; rows stay apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from asr_ray.contexts import AttContextSize
from asr_ray.errors import ConfigError
from asr_ray.model.decode import decode_offline, encode_offline
from asr_ray.model.inference import project_prompt
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.streaming import decode_streaming, encode_streaming
from asr_ray.model.tokens import strip_tags
from tests.model.conftest import Clips

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


@pytest.mark.parametrize("decode", [decode_offline, decode_streaming])
def test_a_row_does_not_depend_on_its_batch(
    talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips, decode: type
) -> None:
    together = decode(
        talkative,
        clips.audio,
        clips.num_samples,
        prompt_slots=clips.prompt_slots,
        att_context_size=(56, 3),
    )
    for row, length in enumerate(clips.num_samples):
        alone = decode(
            talkative,
            clips.audio[row : row + 1, :length],
            clips.num_samples[row : row + 1],
            prompt_slots=clips.prompt_slots[row : row + 1],
            att_context_size=(56, 3),
        )
        assert alone == together[row : row + 1]


def test_the_locale_reaches_the_frames(talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips) -> None:
    audio, num_samples = clips.audio[:1].repeat(2, 1), clips.num_samples[:1].repeat(2)
    slots = torch.tensor([21, 30])
    for encode in (encode_offline, encode_streaming):
        frames = encode(talkative, audio, num_samples, prompt_slots=slots, att_context_size=(56, 3))
        assert not torch.allclose(frames.encoded[0], frames.encoded[1], atol=1e-3)


def test_the_context_reaches_the_frames(talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips) -> None:
    inputs = (talkative, clips.audio, clips.num_samples)
    short, long = (
        encode_offline(*inputs, prompt_slots=clips.prompt_slots, att_context_size=context).encoded
        for context in ((56, 0), (56, 13))
    )
    assert not torch.allclose(short[0], long[0], atol=1e-3)


def test_the_projection_is_that_of_nemo(talkative: EncDecRNNTBPEModelWithPrompt) -> None:
    encoded = torch.randn(2, talkative.encoder.d_model, 5)
    talkative.set_inference_prompt("bg-BG")
    expected = talkative._apply_prompt_to_encoded(encoded)
    torch.testing.assert_close(project_prompt(talkative, encoded, torch.tensor([30, 30])), expected)


def test_the_model_is_left_as_it_was(micro_nemo: Path, clips: Clips) -> None:
    model = load_model(micro_nemo).train()
    model.encoder.eval()
    model.encoder.sync_max_audio_length = True
    modes = [module.training for module in model.modules()]
    decode_streaming(
        model,
        clips.audio[2:3],
        clips.num_samples[2:3],
        prompt_slots=clips.prompt_slots[2:3],
        att_context_size=(56, 13),
    )
    assert [module.training for module in model.modules()] == modes
    assert model.encoder.att_context_size == [56, 3]
    assert model.encoder.sync_max_audio_length
    assert model.encoder.streaming_cfg.chunk_size == [25, 32]


def test_tags_go_unless_they_are_kept(
    talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talkative.tokenizer, "ids_to_text", lambda ids: "Ναι ; <el-GR>")
    inputs = (talkative, clips.audio[2:3], clips.num_samples[2:3])
    slots = clips.prompt_slots[2:3]
    assert decode_offline(*inputs, prompt_slots=slots, att_context_size=(56, 3)) == ["Ναι ;"]
    kept = decode_offline(*inputs, prompt_slots=slots, att_context_size=(56, 3), keep_tags=True)
    assert kept == ["Ναι ; <el-GR>"]


@pytest.mark.parametrize("context", [(56, 2), (56, -1), (-1, 3)])
def test_impossible_contexts_are_refused(
    talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips, context: AttContextSize
) -> None:
    with pytest.raises(ConfigError, match="left context"):
        decode_offline(
            talkative,
            clips.audio,
            clips.num_samples,
            prompt_slots=clips.prompt_slots,
            att_context_size=context,
        )


def test_another_language_in_the_prompt_gives_another_text(
    shipped: EncDecRNNTBPEModelWithPrompt, phrases: Clips
) -> None:
    """What the model was told, not what it hears alone, decides: a wrong locale cannot pass unnoticed."""
    slots = prompt_table(shipped).slots
    rows = torch.arange(20)
    inputs = (shipped, phrases.audio[rows], phrases.num_samples[rows])
    wrong = torch.where(phrases.prompt_slots[rows] == slots["en-US"], slots["es-ES"], slots["en-US"])
    for decode in (decode_offline, decode_streaming):
        right_texts, wrong_texts = (
            decode(*inputs, prompt_slots=chosen, att_context_size=(56, 13))
            for chosen in (phrases.prompt_slots[rows], wrong)
        )
        assert sum(map(str.__ne__, right_texts, wrong_texts)) >= 15


def test_every_tag_of_the_checkpoint_can_be_stripped(shipped: EncDecRNNTBPEModelWithPrompt) -> None:
    locales = [tag for tag in prompt_table(shipped).slots if "-" in tag]
    assert any(len(tag.partition("-")[0]) == 3 for tag in locales)
    assert {strip_tags(f"Ναι. <{tag}>") for tag in locales} == {"Ναι."}


def test_bf16_touches_the_encoder_alone(shipped: EncDecRNNTBPEModelWithPrompt, phrases: Clips) -> None:
    rows = slice(0, 20)
    inputs = (shipped, phrases.audio[rows], phrases.num_samples[rows])
    choice = {"prompt_slots": phrases.prompt_slots[rows], "att_context_size": (56, 3)}
    for encode, decode in ((encode_offline, decode_offline), (encode_streaming, decode_streaming)):
        exact = encode(*inputs, **choice).encoded
        rounded = encode(*inputs, **choice, precision="bf16").encoded
        assert rounded.dtype == torch.float32
        error = (rounded - exact).norm() / exact.norm()
        assert 1e-4 < error < 0.03
        texts, rounded_texts = (decode(*inputs, **choice, precision=name) for name in ("fp32", "bf16"))
        assert sum(map(str.__eq__, texts, rounded_texts)) >= 18
    assert {parameter.dtype for parameter in shipped.parameters()} == {torch.float32}
