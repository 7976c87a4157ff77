"""Audio that arrives bit by bit ends as the text of the whole recording."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from asr_ray.contexts import AttContextSize
from asr_ray.errors import ConfigError
from asr_ray.model.decode import decode_offline
from asr_ray.model.live import LiveStream, Recogniser
from asr_ray.model.nemo_file import load_model
from tests.model.conftest import Clips

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


def listen(recogniser: Recogniser, clips: Clips, *, seed: int) -> list[LiveStream]:
    """Push pieces of random length, from 1 sample to 0.3 s; stream k begins k rounds late."""
    generator = torch.Generator().manual_seed(seed)
    streams: list[LiveStream] = []
    ended: set[int] = set()
    while len(ended) < len(clips.audio):
        if len(streams) < len(clips.audio):
            streams.append(recogniser.open(int(clips.prompt_slots[len(streams)])))
        for index, stream in enumerate(streams):
            rest = clips.row(index)[stream.num_samples :]
            stream_goes_on = len(rest) > 0
            if stream_goes_on:
                stream.push(rest[: int(torch.randint(1, 4_800, (), generator=generator))])
            elif index not in ended:
                stream.end()
                ended.add(index)
        recogniser.advance(streams)
    return streams


@pytest.mark.parametrize("context", [(56, 0), (56, 1), (56, 13)])
def test_streams_of_any_age_and_language_end_as_offline(
    talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips, context: AttContextSize
) -> None:
    streams = listen(Recogniser(talkative, att_context_size=context, keep_tags=True), clips, seed=1)
    offline = decode_offline(
        talkative,
        clips.audio,
        clips.num_samples,
        prompt_slots=clips.prompt_slots,
        att_context_size=context,
        keep_tags=True,
    )
    assert [stream.text for stream in streams] == offline
    assert len(offline[1]) > 20


def test_words_come_before_the_end(talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips) -> None:
    recogniser = Recogniser(talkative, att_context_size=(56, 0))
    stream = recogniser.open(int(clips.prompt_slots[1]))
    audio, seen = clips.row(1), [()]
    for start in range(0, len(audio), 16_000):
        stream.push(audio[start : start + 16_000])
        # A second holds 12 or 13 chunks of 80 ms, each waiting 16 ms for its last feature.
        assert recogniser.advance([stream]) in (12, 13) or start + 16_000 > len(audio)
        seen.append(tuple(stream.tokens))
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(seen))
    assert len(set(seen)) > 3


def test_a_stream_keeps_no_more_audio_than_it_needs(
    talkative: EncDecRNNTBPEModelWithPrompt, clips: Clips
) -> None:
    recogniser = Recogniser(talkative, att_context_size=(56, 0))
    stream = recogniser.open(0)
    stream.push(clips.row(1))
    recogniser.advance([stream])
    assert stream.num_samples == 80_077
    assert stream._audio.untyped_storage().nbytes() < 4 * 2_000


def test_silence_of_no_length_is_no_text(talkative: EncDecRNNTBPEModelWithPrompt) -> None:
    recogniser = Recogniser(talkative, att_context_size=(56, 3))
    stream = recogniser.open(0)
    assert recogniser.advance([stream]) == 0
    stream.push(torch.zeros(100))
    stream.end()
    assert recogniser.advance([stream]) == 0
    assert stream.text == ""
    with pytest.raises(ConfigError, match="ended"):
        stream.push(torch.zeros(100))


def test_features_that_need_the_whole_recording_are_refused(micro_nemo: Path) -> None:
    model = load_model(micro_nemo)
    model.preprocessor.featurizer.normalize = "per_feature"
    with pytest.raises(ConfigError, match="per_feature"):
        Recogniser(model, att_context_size=(56, 3))
