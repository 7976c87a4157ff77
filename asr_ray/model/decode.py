"""Speech to text with an explicit language per utterance: the whole utterance at once, or as a stream.

NeMo's `transcribe()` is not used: in 3.0.0 it ignores the language it is asked for. Both paths here take
one prompt slot per row and give the same frames: a chunk sees what the chunk mask lets it see, no matter
whether the rest of the audio exists already.

Shape letters: B utterances, N samples, T encoder frames (80 ms), D channels of a frame.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from asr_ray.errors import ConfigError
from asr_ray.model.nemo_file import quiet_nemo
from asr_ray.model.tokens import strip_tags

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

AttContextSize = tuple[int, int]
"""Left and right attention context in encoder frames of 80 ms; a chunk has 1 + right of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Encoder frames after the prompt projection, what the joint network sees.

    Attributes:
        encoded: [B, D, T].
        num_frames: int64 [B].
    """

    encoded: Tensor
    num_frames: Tensor


def decode_offline(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
    keep_tags: bool = False,
) -> list[str]:
    """Transcribe whole utterances under the chunk mask of one attention context, greedily.

    Args:
        audio: float32 [B, N] at 16 kHz, zeros after each utterance's end.
        num_samples: [B].
        prompt_slots: [B], one language each; see `asr_ray.prompts.choose_slot`.
        keep_tags: leave the `<xx-XX>` that the model writes in the text.

    Raises:
        ConfigError: a left context that is not a number of whole chunks.
    """
    with _inference(model, att_context_size):
        frames = _forward(model, audio, num_samples, prompt_slots)
        return _texts(model, _decode_frames(model, frames), keep_tags=keep_tags)


def decode_streaming(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
    keep_tags: bool = False,
) -> list[str]:
    """Transcribe chunk by chunk, with the encoder's caches and the decoder's state carried along.

    Arguments and errors as `decode_offline`, and the same text. NeMo's streaming script differs at
    [56, 0], see `_stream`.
    """
    hypotheses = None
    with _inference(model, att_context_size):
        for frames in _stream(model, audio, num_samples, prompt_slots):
            hypotheses = _decode_frames(model, frames, so_far=hypotheses)
        return _texts(model, hypotheses or [], keep_tags=keep_tags)


def encode_offline(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
) -> Frames:
    """Return the frames that `decode_offline` decodes."""
    with _inference(model, att_context_size):
        return _forward(model, audio, num_samples, prompt_slots)


def encode_streaming(
    model: EncDecRNNTBPEModelWithPrompt,
    audio: Tensor,
    num_samples: Tensor,
    *,
    prompt_slots: Tensor,
    att_context_size: AttContextSize,
) -> Frames:
    """Return the frames that `decode_streaming` decodes, its chunks put together."""
    with _inference(model, att_context_size):
        chunks = list(_stream(model, audio, num_samples, prompt_slots))
    # Only the last chunk of a row is short, so the rows stay free of gaps.
    return Frames(
        encoded=torch.cat([chunk.encoded for chunk in chunks], dim=2),
        num_frames=torch.stack([chunk.num_frames for chunk in chunks]).sum(dim=0),
    )


def project_prompt(model: EncDecRNNTBPEModelWithPrompt, encoded: Tensor, prompt_slots: Tensor) -> Tensor:
    """Apply the prompt projection with a slot per row; [B, D, T] -> [B, D, T].

    NeMo's own streaming step knows one language for the whole batch (`set_inference_prompt`), and none
    at all, without a word, when that was never called.
    """
    one_hot = torch.nn.functional.one_hot(prompt_slots, num_classes=model.num_prompts).to(encoded.dtype)
    frames = encoded.transpose(1, 2)
    prompts = one_hot.unsqueeze(1).expand(-1, frames.shape[1], -1)
    projected: Tensor = model.prompt_kernel(torch.cat([frames, prompts], dim=-1))
    return projected.to(encoded.dtype).transpose(1, 2)


@contextlib.contextmanager
def _inference(model: EncDecRNNTBPEModelWithPrompt, att_context_size: AttContextSize) -> Iterator[None]:
    """Put the model into evaluation mode at one attention context; leave it as it was found."""
    _check_context(att_context_size)
    encoder = model.encoder
    modes = [(module, module.training) for module in model.modules()]
    context, sync = encoder.att_context_size, encoder.sync_max_audio_length
    with quiet_nemo(), torch.inference_mode():
        model.eval()
        # Ranks decode different numbers of batches, and the sync is a collective call in every forward.
        encoder.sync_max_audio_length = False
        encoder.set_default_att_context_size(list(att_context_size))
        try:
            yield
        finally:
            encoder.set_default_att_context_size(context)
            encoder.sync_max_audio_length = sync
            for module, training in modes:
                module.training = training


def _check_context(att_context_size: AttContextSize) -> None:
    left, right = att_context_size
    if right < 0 or left < 0 or left % (right + 1):
        raise ConfigError(
            f"att_context_size {list(att_context_size)}: the left context is not a multiple of the "
            f"chunk of {right + 1} frames",
            fix="use one of [56, 0], [56, 1], [56, 3], [56, 6], [56, 13]",
        )


def _forward(
    model: EncDecRNNTBPEModelWithPrompt, audio: Tensor, num_samples: Tensor, prompt_slots: Tensor
) -> Frames:
    encoded, num_frames = model.forward(
        input_signal=audio.to(model.device),
        input_signal_length=num_samples.to(model.device),
        prompt_indices=prompt_slots.to(model.device),
    )
    return Frames(encoded=encoded, num_frames=num_frames)


def _stream(
    model: EncDecRNNTBPEModelWithPrompt, audio: Tensor, num_samples: Tensor, prompt_slots: Tensor
) -> Iterator[Frames]:
    """Yield the frames of each chunk, computed from that chunk and the caches alone.

    The 8x subsampling needs 9 feature frames before a chunk. At [56, 0] only 1 exists before the second
    chunk, and NeMo's buffer fills up with zeros in front; but the convolutions pad between their layers,
    where a zero frame is no longer zero, so its frames are off by some 1e-3 from there on. Here a chunk
    gets the past that exists, and exactly the frames that this past yields are dropped again.
    """
    encoder, slots = model.encoder, prompt_slots.to(model.device)
    features, num_features = model.preprocessor(
        input_signal=audio.to(model.device), length=num_samples.to(model.device)
    )
    channel, time, channel_length = encoder.get_initial_cache_state(
        batch_size=len(audio), dtype=features.dtype, device=model.device
    )
    for start, stop, past in _chunks(int(num_features.max()), streaming=encoder.streaming_cfg):
        encoded, num_frames, channel, time, channel_length = encoder.cache_aware_stream_step(
            processed_signal=features[:, :, start - past : stop],
            processed_signal_length=(num_features - start + past).clamp(min=0, max=stop - start + past),
            cache_last_channel=channel,
            cache_last_time=time,
            cache_last_channel_len=channel_length,
            drop_extra_pre_encoded=-(-past // encoder.subsampling_factor),
        )
        yield Frames(encoded=project_prompt(model, encoded, slots), num_frames=num_frames)


def _chunks(num_features: int, *, streaming: Any) -> Iterator[tuple[int, int, int]]:
    """Yield (start, stop, past) of each chunk in feature frames; `past` frames before it are read again.

    The first chunk is shorter: the first encoder frame looks at one feature frame, each later one at 8 more.
    """
    first, later = streaming.chunk_size
    start = 0
    while start < num_features:
        stop = min(start + (later if start else first), num_features)
        yield start, stop, min(start, streaming.pre_encode_cache_size[1])
        start = stop


def _decode_frames(
    model: EncDecRNNTBPEModelWithPrompt, frames: Frames, *, so_far: list[Any] | None = None
) -> list[Any]:
    """Greedy RNN-T search; returns NeMo hypotheses, which continue those given in `so_far`."""
    hypotheses: list[Any] = model.decoding.rnnt_decoder_predictions_tensor(
        encoder_output=frames.encoded,
        encoded_lengths=frames.num_frames,
        return_hypotheses=True,
        partial_hypotheses=so_far,
    )
    return hypotheses


def _texts(model: EncDecRNNTBPEModelWithPrompt, hypotheses: Sequence[Any], *, keep_tags: bool) -> list[str]:
    """Detokenise. NeMo's own text lacks blanks before `?` and `!`, which French puts there."""
    texts = [str(model.tokenizer.ids_to_text([int(i) for i in each.y_sequence])) for each in hypotheses]
    return texts if keep_tags else [strip_tags(text) for text in texts]
