from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from asr_ray.errors import ConfigError
from asr_ray.model.decode import (
    AttContextSize,
    decode_offline,
    decode_streaming,
    encode_offline,
    encode_streaming,
    project_prompt,
)
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tiny import base_model_path
from asr_ray.testing.speech import synthesize

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

CONTEXTS: list[AttContextSize] = [(56, 0), (56, 1), (56, 3), (56, 6), (56, 13)]


@dataclass(frozen=True)
class Clips:
    audio: Tensor
    num_samples: Tensor
    prompt_slots: Tensor


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Noise that changes its level every 0.1 s; four languages, four lengths, one under two frames."""
    num_samples = torch.tensor([48_000, 80_077, 9_000, 161])
    generator = torch.Generator().manual_seed(5)
    levels = torch.rand(4, 51, generator=generator).pow(4).repeat_interleave(1_600, dim=1)
    audio = levels[:, :80_077] * torch.randn(4, 80_077, generator=generator)
    audio[torch.arange(80_077) >= num_samples.unsqueeze(1)] = 0.0
    return Clips(audio=audio, num_samples=num_samples, prompt_slots=torch.tensor([21, 30, 0, 101]))


@pytest.fixture(scope="module")
def talkative(micro_nemo: Path) -> EncDecRNNTBPEModelWithPrompt:
    """The random model, scaled so that what it says depends on the frame, and on many frames is nothing."""
    model = load_model(micro_nemo)
    model.joint.enc.weight.data *= 2
    model.joint.joint_net[-1].weight.data *= 2
    model.joint.joint_net[-1].bias.data[-1] += 0.35
    return model


@pytest.mark.parametrize("context", CONTEXTS)
def test_streaming_gives_the_frames_and_texts_of_offline(
    talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips, context: AttContextSize
) -> None:
    inputs = (talkative, clips.audio, clips.num_samples)
    offline = encode_offline(*inputs, prompt_slots=clips.prompt_slots, att_context_size=context)
    streamed = encode_streaming(*inputs, prompt_slots=clips.prompt_slots, att_context_size=context)
    assert streamed.num_frames.tolist() == offline.num_frames.tolist()
    for row, length in enumerate(offline.num_frames):
        torch.testing.assert_close(
            streamed.encoded[row, :, :length], offline.encoded[row, :, :length], atol=1e-5, rtol=0
        )
    texts, streamed_texts = (
        decode(*inputs, prompt_slots=clips.prompt_slots, att_context_size=context, keep_tags=True)
        for decode in (decode_offline, decode_streaming)
    )
    assert streamed_texts == texts
    assert all(len(set(text)) > 5 for text in texts[:2])


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


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_shipped_model_streams_what_it_hears_offline(context: AttContextSize) -> None:
    model = load_model(base_model_path())
    # Sentences of its grammar: of words it never heard, a model this small may write nothing.
    texts = {"en-US": "The train leaves at seven fifty.", "es-ES": "El billete cuesta ocho euros."}
    spoken = [torch.from_numpy(synthesize(text, locale=tag)) / 2**15 for tag, text in texts.items()]
    inputs = (
        model,
        torch.nn.utils.rnn.pad_sequence(spoken, batch_first=True),
        torch.tensor([len(samples) for samples in spoken]),
    )
    slots = torch.tensor([prompt_table(model).slots[tag] for tag in texts])
    offline = decode_offline(*inputs, prompt_slots=slots, att_context_size=context)
    assert decode_streaming(*inputs, prompt_slots=slots, att_context_size=context) == offline
    assert all(offline)
