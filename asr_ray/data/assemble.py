"""Utterances of a planned batch -> one padded `Batch`; the last step before the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import soundfile

from asr_ray.data.audio import decode_pcm16
from asr_ray.data.augment.augmenter import Augmenter
from asr_ray.data.augment.speed import Draws
from asr_ray.errors import DataError
from asr_ray.locales import PromptMode
from asr_ray.prompts import choose_slot
from asr_ray.records import SAMPLE_RATE, Batch, Position, PromptTable, Tokenizer, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Decodes, augments, tokenises, chooses prompts and pads.

    Attributes:
        prompt_mode: for utterances that do not carry one and whose source has none.
        auto_share: share of `auto` under `unified`.
        append_tags: write ` <el-GR>` after each transcript.
        seed: with epoch and id, decides the prompt of `unified`.
        prompt_modes: of sources that have one of their own.
        augmenters: by source; the audio of any other source stays as it is.
    """

    tokenizer: Tokenizer
    prompts: PromptTable
    prompt_mode: PromptMode
    auto_share: float
    append_tags: bool
    seed: int
    prompt_modes: Mapping[str, PromptMode] = field(default_factory=dict)
    augmenters: Mapping[str, Augmenter] = field(default_factory=dict)

    def assemble(
        self,
        utterances: Sequence[Utterance],
        *,
        position: Position,
        after: Position,
        draws: Draws | None = None,
    ) -> Batch:
        """Return the batch of `utterances`, in their order.

        Args:
            draws: what decides the augmentation of each; None leaves all as they are.

        Raises:
            DataError: there is no utterance, or one cannot be decoded.
        """
        if not utterances:
            raise DataError(
                f"step at {position} has an empty batch", fix="report this plan: it should not exist"
            )
        signals = self._signals(utterances, draws=draws)
        tokens = [self.tokenizer.encode(self._text(utterance)) for utterance in utterances]
        num_samples = np.array([len(signal) for signal in signals], dtype=np.int64)
        num_tokens = np.array([len(ids) for ids in tokens], dtype=np.int64)
        audio = np.zeros((len(signals), num_samples.max()), dtype=np.int16)
        padded_tokens = np.zeros((len(tokens), max(1, num_tokens.max())), dtype=np.int64)
        for row, (signal, ids) in enumerate(zip(signals, tokens, strict=True)):
            audio[row, : len(signal)] = signal
            padded_tokens[row, : len(ids)] = ids
        return Batch(
            audio=audio,
            num_samples=num_samples,
            tokens=padded_tokens,
            num_tokens=num_tokens,
            prompt_slots=np.array([self._slot(u, epoch=position.epoch) for u in utterances], dtype=np.int64),
            ids=tuple(utterance.id for utterance in utterances),
            locales=tuple(utterance.locale for utterance in utterances),
            sources=tuple(utterance.source for utterance in utterances),
            durations_s=np.array([utterance.duration_s for utterance in utterances]),
            position=position,
            next_position=after,
        )

    def _signals(
        self, utterances: Sequence[Utterance], *, draws: Draws | None
    ) -> list[npt.NDArray[np.int16]]:
        signals = [_decode(utterance) for utterance in utterances]
        if draws is None:
            return signals
        return [
            self.augmenters[utterance.source].apply(signal, key=key, speed=speed)
            if utterance.source in self.augmenters
            else signal
            for utterance, signal, key, speed in zip(
                utterances, signals, draws.keys.tolist(), draws.speeds.tolist(), strict=True
            )
        ]

    def _text(self, utterance: Utterance) -> str:
        return f"{utterance.text} <{utterance.locale}>" if self.append_tags else utterance.text

    def _slot(self, utterance: Utterance, *, epoch: int) -> int:
        return choose_slot(
            utterance.id,
            locale=utterance.locale,
            mode=utterance.prompt_mode or self.prompt_modes.get(utterance.source, self.prompt_mode),
            auto_share=self.auto_share,
            seed=self.seed,
            epoch=epoch,
            table=self.prompts,
        )


def _decode(utterance: Utterance) -> npt.NDArray[np.int16]:
    try:
        samples = decode_pcm16(utterance.audio)
    except soundfile.SoundFileError as error:
        raise _unlike(utterance, f"cannot be decoded: {error}") from None
    if len(samples) != round(utterance.duration_s * SAMPLE_RATE):
        found_s = len(samples) / SAMPLE_RATE
        raise _unlike(utterance, f"has {found_s:.3f} s where {utterance.duration_s:.3f} s were prepared")
    return samples


def _unlike(utterance: Utterance, found: str) -> DataError:
    return DataError(
        f"{utterance.origin}: {utterance.id} {found}", fix="prepare the corpus again with jobs/prepare.py"
    )
