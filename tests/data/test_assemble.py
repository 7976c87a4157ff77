"""Utterances become one padded batch: every sample and token in its place, nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.assemble import Assembler
from asr_ray.data.audio import decode_pcm16, encode_flac
from asr_ray.data.augment.augmenter import Augmenter
from asr_ray.data.augment.speed import Draws
from asr_ray.errors import ConfigError, DataError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS
from asr_ray.records import Batch, Position, PromptTable, Utterance
from asr_ray.settings.augment import AugmentSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise
from asr_ray.testing.prepared import noise_utterances

TABLE = PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS)
HERE, NEXT = Position(1, 2, 3), Position(1, 2, 4)
POOL = tuple(noise_utterances(("el-GR", "radio"), count=6)) + tuple(
    noise_utterances(("bg-BG", "podcast"), count=6)
)
SILENT = replace(POOL[0], id="silent", text="")

ASSEMBLER = Assembler(
    tokenizer=FakeTokenizer(),
    prompts=TABLE,
    prompt_mode="langID",
    auto_share=0.5,
    append_tags=False,
    seed=7,
)


def assemble(utterances: list[Utterance], *, by: Assembler = ASSEMBLER, position: Position = HERE) -> Batch:
    return by.assemble(utterances, position=position, after=NEXT)


@given(chosen=st.lists(st.sampled_from([*POOL, SILENT]), min_size=1, max_size=8))
def test_every_row_holds_its_utterance_and_zeros(chosen: list[Utterance]) -> None:
    batch = assemble(chosen)

    assert batch.audio.dtype == np.int16
    assert batch.audio.shape == (len(chosen), batch.num_samples.max())
    assert batch.tokens.shape == (len(chosen), max(1, batch.num_tokens.max()))
    for row, utterance in enumerate(chosen):
        samples, tokens = decode_pcm16(utterance.audio), FakeTokenizer().encode(utterance.text)
        assert batch.num_samples[row] == len(samples)
        assert batch.num_tokens[row] == len(tokens)
        assert np.array_equal(batch.audio[row, : len(samples)], samples)
        assert not batch.audio[row, len(samples) :].any()
        assert batch.tokens[row, : len(tokens)].tolist() == tokens
        assert not batch.tokens[row, len(tokens) :].any()


def test_the_rest_travels_along_in_order() -> None:
    chosen = [POOL[7], POOL[0], POOL[8]]
    batch = assemble(chosen)

    assert batch.ids == tuple(utterance.id for utterance in chosen)
    assert batch.locales == ("bg-BG", "el-GR", "bg-BG")
    assert batch.sources == ("podcast", "radio", "podcast")
    assert batch.prompt_slots.tolist() == [30, 21, 30]
    assert batch.durations_s.tolist() == [utterance.duration_s for utterance in chosen]
    assert (batch.position, batch.next_position) == (HERE, NEXT)


def test_tags_are_appended_to_the_transcript_only_on_request() -> None:
    tagged = replace(ASSEMBLER, append_tags=True)
    batch = assemble([POOL[0], POOL[6]], by=tagged)

    texts = ["".join(map(chr, row[:n])) for row, n in zip(batch.tokens, batch.num_tokens, strict=True)]
    assert texts == [f"{POOL[0].text} <el-GR>", f"{POOL[6].text} <bg-BG>"]


def test_the_prompt_mode_of_an_utterance_comes_before_that_of_the_run() -> None:
    batch = assemble([POOL[0], replace(POOL[1], prompt_mode="auto")])
    assert batch.prompt_slots.tolist() == [DEFAULT_PROMPT_SLOTS["el-GR"], TABLE.auto_slot]


def test_the_prompt_mode_of_a_source_stands_between_those_of_utterance_and_run() -> None:
    by = replace(ASSEMBLER, prompt_modes={"radio": "auto"})
    batch = assemble([POOL[0], replace(POOL[1], prompt_mode="langID"), POOL[6]], by=by)
    assert batch.prompt_slots.tolist() == [TABLE.auto_slot, 21, 30]


def test_only_sources_with_an_augmenter_are_changed_and_only_by_draws() -> None:
    louder = AugmentSettings.model_validate({"gain": {"probability": 1.0, "range_db": (6, 6)}})
    by = replace(ASSEMBLER, augmenters={"radio": Augmenter.build(louder)})
    chosen = [POOL[0], POOL[6]]
    draws = Draws(np.array([1, 2], dtype=np.uint64), np.array([1.0, 1.0]))
    plain, changed = assemble(chosen), by.assemble(chosen, position=HERE, after=NEXT, draws=draws)
    assert np.abs(changed.audio[0]).mean() == pytest.approx(1.995 * np.abs(plain.audio[0]).mean(), rel=0.01)
    assert np.array_equal(changed.audio[1], plain.audio[1])
    assert np.array_equal(assemble(chosen, by=by).audio, plain.audio)


def test_unified_draws_again_in_each_epoch_and_not_within_one() -> None:
    unified = replace(ASSEMBLER, prompt_mode="unified")
    slots = [
        tuple(assemble(list(POOL), by=unified, position=Position(epoch, 0, step)).prompt_slots)
        for epoch in range(6)
        for step in range(2)
    ]
    assert slots[::2] == slots[1::2]
    assert len(set(slots)) > 1
    assert set(np.array(slots).ravel()) == {21, 30, TABLE.auto_slot}


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(DataError, match="empty batch"):
        assemble([])


def test_a_damaged_utterance_is_named() -> None:
    damaged = replace(POOL[1], audio=encode_flac(noise(0.1))[:20])
    with pytest.raises(DataError, match=rf"radio\.jsonl:2: {damaged.id} cannot be decoded"):
        assemble([POOL[0], damaged])


def test_audio_of_another_length_than_prepared_is_named() -> None:
    shorter = replace(POOL[1], audio=encode_flac(noise(0.1)), duration_s=0.2)
    with pytest.raises(DataError, match=r"has 0\.100 s where 0\.200 s were prepared"):
        assemble([POOL[0], shorter])


def test_a_locale_without_a_slot_is_named() -> None:
    with pytest.raises(ConfigError, match="utterance el-GR-radio-0000: unknown locale 'xx-YY'"):
        assemble([replace(POOL[0], locale="xx-YY")])
