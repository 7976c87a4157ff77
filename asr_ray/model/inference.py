"""What every way of decoding shares: the attention context, the precision, the prompt, the greedy search.

NeMo's `transcribe()` is not used: in 3.0.0 it ignores the language it is asked for. Everything here takes one
prompt slot per row. Features, prompt projection and search stay in float32 at any precision: bf16 blurs a
one-hot vector that a single weight column tells from the next, and the search costs little.

Shape letters: B utterances, N samples, F features of a frame of 10 ms, T encoder frames (80 ms), D channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from asr_ray.contexts import AttContextSize, has_whole_chunks
from asr_ray.errors import ConfigError
from asr_ray.model.nemo_file import quiet_nemo
from asr_ray.model.tokens import strip_tags

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

Precision = Literal["fp32", "bf16"]
"""Of the encoder's arithmetic, as in the settings; weights and caches stay in float32."""

_MAX_SYMBOLS_PER_FRAME = 10
"""Where a checkpoint's configuration names no limit; NeMo's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Encoder frames after the prompt projection, what the joint network sees.

    Attributes:
        encoded: [B, D, T].
        num_frames: int64 [B].
    """

    encoded: Tensor
    num_frames: Tensor


@contextlib.contextmanager
def inference(
    model: EncDecRNNTBPEModelWithPrompt, att_context_size: AttContextSize, *, precision: Precision = "fp32"
) -> Iterator[None]:
    """Put the model into evaluation mode at one attention context and precision; leave it as it was found.

    Raises:
        ConfigError: a left context that is not a number of whole chunks.
    """
    if not has_whole_chunks(att_context_size):
        raise ConfigError(
            f"att_context_size {list(att_context_size)}: the left context is not a multiple of the "
            f"chunk of {att_context_size[1] + 1} frames",
            fix="use one of [56, 0], [56, 1], [56, 3], [56, 6], [56, 13]",
        )
    encoder = model.encoder
    modes = [(module, module.training) for module in model.modules()]
    context, sync = encoder.att_context_size, encoder.sync_max_audio_length
    # Entered here and not around each step: leaving the outermost one forgets the weights cast so far.
    mixed = torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16")
    with quiet_nemo(), torch.inference_mode(), mixed:
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


def features_of(
    model: EncDecRNNTBPEModelWithPrompt, audio: Tensor, num_samples: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log-mel features [B, F, 10 ms frames] of audio [B, N] and their numbers [B], in float32."""
    with _full_precision(model):
        features, num_features = model.preprocessor(
            input_signal=audio.to(model.device), length=num_samples.to(model.device)
        )
    return features, num_features


def project_prompt(model: EncDecRNNTBPEModelWithPrompt, encoded: Tensor, prompt_slots: Tensor) -> Tensor:
    """Apply the prompt projection with a slot per row, in float32; [B, D, T] -> [B, D, T].

    NeMo's own streaming step knows one language for the whole batch (`set_inference_prompt`), and none
    at all, without a word, when that was never called.
    """
    with _full_precision(model):
        frames = encoded.float().transpose(1, 2)
        one_hot = torch.nn.functional.one_hot(prompt_slots, num_classes=model.num_prompts).to(frames.dtype)
        prompts = one_hot.unsqueeze(1).expand(-1, frames.shape[1], -1)
        projected: Tensor = model.prompt_kernel(torch.cat([frames, prompts], dim=-1))
        return projected.transpose(1, 2)


class Search:
    """Greedy RNN-T search over a batch, which can go on where it stopped.

    NeMo's label-looping decoder is called directly. The way around it through hypothesis objects takes
    the state apart and writes the whole text out again after every chunk.
    """

    def __init__(self, model: EncDecRNNTBPEModelWithPrompt) -> None:
        self._model = model
        # On a GPU it keeps captured graphs, so the model's own is used where there is one.
        self._decoder = getattr(model.decoding.decoding, "decoding_computer", None) or _decoder_of(model)

    def __call__(self, frames: Frames, state: Any = None) -> tuple[list[list[int]], Any]:
        """Return the token ids found in `frames`, one list a row, and the state to go on with."""
        with _full_precision(self._model):
            found, state = self._decoder(
                x=frames.encoded.transpose(1, 2), out_len=frames.num_frames, prev_batched_state=state
            )
        # With captured graphs NeMo pads its answer to the largest batch it has seen.
        counts = found.current_lengths[: len(frames.num_frames)].tolist()
        if not any(counts):
            return [[] for _ in counts], state
        rows = found.transcript[: len(counts), : max(counts)].tolist()
        return [row[:count] for row, count in zip(rows, counts, strict=True)], state

    def split(self, state: Any, *, num_rows: int) -> list[Any]:
        """Take the state of a batch apart, row by row."""
        return list(self._decoder.split_batched_state(state))[:num_rows]

    def join(self, rows: Sequence[Any]) -> Any:
        """Make the state of a batch out of the states of its rows."""
        return self._decoder.merge_to_batched_state(list(rows))


def text_of(model: EncDecRNNTBPEModelWithPrompt, tokens: Sequence[int], *, keep_tags: bool) -> str:
    """Detokenise. NeMo's own text lacks blanks before `?` and `!`, which French puts there."""
    text = str(model.tokenizer.ids_to_text(list(tokens)))
    return text if keep_tags else strip_tags(text)


def _decoder_of(model: EncDecRNNTBPEModelWithPrompt) -> Any:
    from nemo.collections.asr.parts.submodules.transducer_decoding.rnnt_label_looping import (
        GreedyBatchedRNNTLabelLoopingComputer,
    )

    greedy = model.cfg.decoding.get("greedy") or {}
    return GreedyBatchedRNNTLabelLoopingComputer(
        decoder=model.decoder,
        joint=model.joint,
        blank_index=model.decoder.blank_idx,
        max_symbols_per_step=greedy.get("max_symbols") or _MAX_SYMBOLS_PER_FRAME,
    )


def _full_precision(model: EncDecRNNTBPEModelWithPrompt) -> contextlib.AbstractContextManager[None]:
    return torch.autocast(model.device.type, enabled=False)
