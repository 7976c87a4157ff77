"""Speech to text of whole utterances under the chunk mask of one attention context.

A chunk sees what the mask lets it see although the rest of the audio exists already, so this gives the
text of `asr_ray.model.streaming` at a fraction of its cost. Shape letters as in `asr_ray.model.inference`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from asr_ray.contexts import AttContextSize
from asr_ray.model.inference import (
    Frames,
    Precision,
    Search,
    features_of,
    inference,
    project_prompt,
    text_of,
)

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


def decode_offline(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
    precision: Precision = "fp32",
    keep_tags: bool = False,
) -> list[str]:
    """Transcribe whole utterances, greedily.

    Args:
        audio: float32 [B, N] at 16 kHz, zeros after each utterance's end.
        num_samples: [B].
        prompt_slots: [B], one language each; see `asr_ray.prompts.choose_slot`.
        precision: of the encoder.
        keep_tags: leave the `<xx-XX>` that the model writes in the text.

    Raises:
        ConfigError: a left context that is not a number of whole chunks.
    """
    with inference(model, att_context_size, precision=precision):
        tokens, _ = Search(model)(_encode(model, audio, num_samples, prompt_slots))
    return [text_of(model, row, keep_tags=keep_tags) for row in tokens]


def encode_offline(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
    precision: Precision = "fp32",
) -> Frames:
    """Return the frames that `decode_offline` decodes."""
    with inference(model, att_context_size, precision=precision):
        return _encode(model, audio, num_samples, prompt_slots)


def _encode(
    model: EncDecRNNTBPEModelWithPrompt, audio: Tensor, num_samples: Tensor, prompt_slots: Tensor
) -> Frames:
    # Not `model.forward`: under autocast it would project the prompt in bf16.
    features, num_features = features_of(model, audio, num_samples)
    encoded, num_frames = model.encoder(audio_signal=features, length=num_features)
    return Frames(
        encoded=project_prompt(model, encoded, prompt_slots.to(model.device)), num_frames=num_frames
    )
