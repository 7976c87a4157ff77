"""Utterances -> raw hypotheses of a loaded model, each decoded under its own language prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from asr_ray.contexts import AttContextSize
from asr_ray.data.read import decode_pcm16
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.evaluate.snr import estimated_snr_db
from asr_ray.locales import check_locale
from asr_ray.model.decode import decode_offline
from asr_ray.model.prompt import prompt_table
from asr_ray.model.streaming import decode_streaming
from asr_ray.records import PromptTable, Utterance
from asr_ray.settings.evaluate import DecodeMode, Precision, PromptChoice

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


def transcribe(
    model: EncDecRNNTBPEModelWithPrompt,
    *,
    utterances: Sequence[Utterance],
    att_context_size: AttContextSize,
    mode: DecodeMode = "offline",
    prompt: PromptChoice = "locale",
    precision: Precision = "fp32",
    keep_tags: bool = False,
    batch_s: float = 120.0,
    before_batch: Callable[[], None] = lambda: None,
) -> list[Hypothesis]:
    """Decode utterances, in the order given, on the device of the model.

    Args:
        att_context_size: encoder frames of left and right context, such as (56, 3).
        prompt: `locale` names each utterance's language, `auto` lets the model detect it.
        mode: whole utterances under the chunk mask, or true streaming.
        precision: of the encoder.
        keep_tags: leave the `<xx-XX>` that the model writes in the hypotheses.
        batch_s: largest batch, in seconds of padded audio.
        before_batch: called before each of them, to show that work goes on.
    """
    table = prompt_table(model)
    decode = decode_offline if mode == "offline" else decode_streaming
    device = next(model.parameters()).device
    texts: dict[int, str] = {}
    snr_db: dict[int, float | None] = {}
    for batch in batches_by_duration([utterance.duration_s for utterance in utterances], batch_s=batch_s):
        before_batch()
        signals = [decode_pcm16(utterances[index].audio) for index in batch]
        snr_db |= {index: estimated_snr_db(signal) for index, signal in zip(batch, signals, strict=True)}
        audio, num_samples = _padded(signals)
        locales = [utterances[index].locale for index in batch]
        slots = [_slot(table, locale=locale, prompt=prompt) for locale in locales]
        decoded = decode(
            model,
            audio.to(device),
            num_samples.to(device),
            prompt_slots=torch.tensor(slots, device=device),
            att_context_size=att_context_size,
            precision=precision,
            keep_tags=keep_tags,
        )
        texts.update(zip(batch, decoded, strict=True))
    return [
        Hypothesis(
            id=u.id,
            locale=u.locale,
            ref=u.text,
            hyp=texts[index],
            duration_s=u.duration_s,
            speaker=u.speaker or "",
            source=u.source,
            snr_db=snr_db[index],
        )
        for index, u in enumerate(utterances)
    ]


def batches_by_duration(durations_s: Sequence[float], *, batch_s: float) -> Iterator[list[int]]:
    """Cut indices, sorted by duration, into batches of at most `batch_s` padded seconds; never empty."""
    order = sorted(range(len(durations_s)), key=lambda index: durations_s[index], reverse=True)
    batch: list[int] = []
    for index in order:
        # The first of a batch is its longest, so it decides what each row costs.
        if batch and durations_s[batch[0]] * (len(batch) + 1) > batch_s:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _slot(table: PromptTable, *, locale: str, prompt: PromptChoice) -> int:
    if prompt == "auto":
        return table.auto_slot
    return table.slots[check_locale(locale, known=table.slots, where="prompt of the checkpoint")]


def _padded(signals: Sequence[npt.NDArray[np.int16]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 audio [B, N] in -1..1 and num_samples [B]."""
    num_samples = np.array([len(signal) for signal in signals])
    audio = np.zeros((len(signals), int(num_samples.max())), dtype=np.float32)
    for row, signal in zip(audio, signals, strict=True):
        row[: len(signal)] = signal / 32768.0
    return torch.from_numpy(audio), torch.from_numpy(num_samples)
