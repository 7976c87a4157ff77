"""Each utterance is decoded under its own language, in batches of similar length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.evaluate import hypotheses
from asr_ray.evaluate.hypotheses import batches_by_duration, transcribe
from asr_ray.model.prompt import prompt_table
from asr_ray.testing.prepared import noise_utterances

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

SPEECH = [
    utterance
    for locale in ("el-GR", "bg-BG", "en-US")
    for utterance in noise_utterances((locale, "noise"), count=3)
]


class Recorder:
    """Stands in for the decoder; writes down what it was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self, model: object, audio: torch.Tensor, num_samples: torch.Tensor, **choice: Any
    ) -> list[str]:
        self.calls.append(choice)
        slots = choice["prompt_slots"].tolist()
        return [f"{slot} {length}" for slot, length in zip(slots, num_samples.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("mode", "decoder"), [("offline", "decode_offline"), ("streaming", "decode_streaming")]
)
@pytest.mark.parametrize("prompt", ["locale", "auto"])
def test_every_utterance_has_the_prompt_it_should(
    micro_model: EncDecRNNTBPEModelWithPrompt,
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
    decoder: str,
    prompt: Any,
) -> None:
    asked = Recorder()
    monkeypatch.setattr(hypotheses, decoder, asked)
    rows = transcribe(
        micro_model,
        utterances=SPEECH,
        att_context_size=(56, 6),
        mode=mode,
        prompt=prompt,
        precision="bf16",
        keep_tags=True,
        batch_s=1.0,
    )
    table = prompt_table(micro_model)
    slots = [table.auto_slot if prompt == "auto" else table.slots[each.locale] for each in SPEECH]
    assert [row.id for row in rows] == [each.id for each in SPEECH]
    assert [row.hyp for row in rows] == [
        f"{slot} {round(each.duration_s * 16_000)}" for slot, each in zip(slots, SPEECH, strict=True)
    ]
    assert len(asked.calls) > 1
    for call in asked.calls:
        assert (call["att_context_size"], call["precision"], call["keep_tags"]) == ((56, 6), "bf16", True)


def test_a_locale_that_the_checkpoint_does_not_know_is_refused(
    micro_model: EncDecRNNTBPEModelWithPrompt,
) -> None:
    stranger = next(iter(noise_utterances(("xx-XX", "noise"), count=1)))
    with pytest.raises(ConfigError, match="xx-XX"):
        transcribe(micro_model, utterances=[stranger], att_context_size=(56, 3))


@given(durations_s=st.lists(st.floats(0.1, 40.0)), batch_s=st.floats(1.0, 200.0))
def test_batches_hold_everything_once_within_the_budget(durations_s: list[float], batch_s: float) -> None:
    batches = list(batches_by_duration(durations_s, batch_s=batch_s))
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations_s)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(durations_s[index] for index in batch) <= batch_s
