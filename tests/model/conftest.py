"""Models that say something, and something to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tiny import base_model_path
from asr_ray.testing.espeak import Voice
from asr_ray.testing.grammar import draw_sentences, phrase_of
from asr_ray.testing.speech import VARIANTS, synthesize

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


@dataclass(frozen=True)
class Clips:
    """Audio [B, N], its lengths [B] and the languages [B]."""

    audio: Tensor
    num_samples: Tensor
    prompt_slots: Tensor

    @classmethod
    def of(cls, spoken: Sequence[Tensor], *, prompt_slots: Sequence[int]) -> Clips:
        return cls(
            audio=torch.nn.utils.rnn.pad_sequence(list(spoken), batch_first=True),
            num_samples=torch.tensor([len(samples) for samples in spoken]),
            prompt_slots=torch.tensor(prompt_slots),
        )

    def row(self, index: int) -> Tensor:
        """Samples of one clip [N]."""
        return self.audio[index, : self.num_samples[index]]


@pytest.fixture(scope="session")
def clips() -> Clips:
    """Noise that changes its level every 0.1 s; four languages, four lengths, one under two frames."""
    num_samples = torch.tensor([48_000, 80_077, 9_000, 161])
    generator = torch.Generator().manual_seed(5)
    levels = torch.rand(4, 51, generator=generator).pow(4).repeat_interleave(1_600, dim=1)
    audio = levels[:, :80_077] * torch.randn(4, 80_077, generator=generator)
    audio[torch.arange(80_077) >= num_samples.unsqueeze(1)] = 0.0
    return Clips(audio=audio, num_samples=num_samples, prompt_slots=torch.tensor([21, 30, 0, 101]))


@pytest.fixture(scope="session")
def talkative(micro_nemo: Path) -> EncDecRNNTBPEModelWithPrompt:
    """The random model, scaled so that what it says depends on the frame, and on many frames is nothing."""
    model = load_model(micro_nemo)
    model.joint.enc.weight.data *= 2
    model.joint.joint_net[-1].weight.data *= 2
    model.joint.joint_net[-1].bias.data[-1] += 0.35
    return model


@pytest.fixture(scope="session")
def shipped() -> EncDecRNNTBPEModelWithPrompt:
    """The tiny base of this package, which understands English and Spanish; tests leave it as it is."""
    return load_model(base_model_path())


@pytest.fixture(scope="session")
def phrases(shipped: EncDecRNNTBPEModelWithPrompt) -> Clips:
    """Two hundred short clips of English and Spanish in turn, in thirteen voices, the longest first."""
    slots = prompt_table(shipped).slots
    texts = {
        tag: [phrase_of(text, seed=seed) for seed, text in enumerate(draw_sentences(tag, count=100, seed=3))]
        for tag in ("en-US", "es-ES")
    }
    spoken = []
    for index in range(200):
        tag = ("en-US", "es-ES")[index % 2]
        voice = Voice(
            language=tag[:2] if tag == "es-ES" else "en-us", variant=VARIANTS[index % len(VARIANTS)]
        )
        samples = synthesize(texts[tag][index // 2], locale=tag, voice=voice)
        spoken.append((torch.from_numpy(samples) / 2**15, slots[tag]))
    spoken.sort(key=lambda clip: -len(clip[0]))
    return Clips.of([samples for samples, _ in spoken], prompt_slots=[slot for _, slot in spoken])
