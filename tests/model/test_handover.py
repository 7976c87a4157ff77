"""What we save is a plain NeMo model: stock NeMo restores it, and it streams what it hears offline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr_ray.model.decode import decode_offline
from asr_ray.model.nemo_file import load_model, quiet_nemo, save_model
from asr_ray.model.objective import TransducerObjective
from asr_ray.model.prompt import prompt_table
from asr_ray.model.streaming import decode_streaming
from asr_ray.model.tiny import ATT_CONTEXT_SIZES, base_model_path
from asr_ray.testing.speech import synthesize


def test_stock_nemo_restores_a_trained_model_as_the_same_class(micro_nemo: Path, tmp_path: Path) -> None:
    from nemo.collections.asr.models import ASRModel

    with quiet_nemo():
        objective = TransducerObjective(load_model(micro_nemo), auxiliary_ctc_weight=0.3)
        saved = save_model(objective.model, tmp_path / "best.nemo")
        restored = ASRModel.restore_from(str(saved), map_location="cpu")
    assert type(restored).__name__ == "EncDecRNNTBPEModelWithPrompt"
    ours, theirs = objective.model.state_dict(), restored.state_dict()
    # The CTC helper belongs to the objective and must not leak into the file.
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("context", ATT_CONTEXT_SIZES)
def test_the_shipped_base_streams_what_it_hears_offline(context: tuple[int, int]) -> None:
    with quiet_nemo():
        model = load_model(base_model_path()).eval()
    samples = synthesize("The train leaves at seven fifty.", locale="en-US")
    audio = torch.from_numpy(samples).float()[None] / 32768.0
    arguments = {
        "num_samples": torch.tensor([len(samples)]),
        "prompt_slots": torch.tensor([prompt_table(model).slots["en-US"]]),
        "att_context_size": context,
    }
    offline = decode_offline(model, audio, **arguments)
    assert offline == decode_streaming(model, audio, **arguments)
    assert offline[0].split(), "the base hears nothing in clean speech of its own locale"
