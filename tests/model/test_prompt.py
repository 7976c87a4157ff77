from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asr_ray.errors import ConfigError, DataError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS
from asr_ray.model.inference import project_prompt
from asr_ray.model.nemo_file import inspect_nemo, load_model, save_model
from asr_ray.model.prompt import add_locales, extended_table, prompt_table
from asr_ray.records import PromptTable
from asr_ray.settings import NewLocaleSettings

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


def test_model_and_archive_give_the_same_table(
    micro_model: EncDecRNNTBPEModelWithPrompt, micro_nemo: Path
) -> None:
    table = prompt_table(micro_model)
    assert table == inspect_nemo(micro_nemo).prompt_table
    assert dict(table.slots) == DEFAULT_PROMPT_SLOTS
    assert (table.num_slots, table.auto_slot) == (128, 101)


def test_an_added_locale_is_read_from_the_checkpoint() -> None:
    config = {"model_defaults": {"prompt_dictionary": {"auto": 101, "xx-YY": 63}, "num_prompts": 128}}
    assert prompt_table(config).slots["xx-YY"] == 63


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_defaults": None},
        {"model_defaults": {"prompt_dictionary": {}}},
        {"model_defaults": {"prompt_dictionary": {"el-GR": 128}}},
        {"model_defaults": {"prompt_dictionary": {"el-GR": -1}}},
        {"model_defaults": {"prompt_dictionary": {"el-GR": "21"}}},
    ],
)
def test_unusable_tables_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        prompt_table(config)


FREE = [63, *range(72, 80), *range(84, 96), *range(105, 128)]
RELEASED = PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS)


def new(**given: Any) -> NewLocaleSettings:
    return NewLocaleSettings.model_validate(given)


def test_new_locales_take_free_slots_in_their_order() -> None:
    table = extended_table(RELEASED, {"aa-AA": new(), "bb-BB": new(slot=72), "cc-CC": new()})
    assert {tag: table.slots[tag] for tag in ("aa-AA", "bb-BB", "cc-CC")} == {
        "aa-AA": 63,
        "bb-BB": 72,
        "cc-CC": 73,
    }
    assert {**DEFAULT_PROMPT_SLOTS, **table.slots} == table.slots
    assert extended_table(table, {"aa-AA": new(), "bb-BB": new(slot=72)}) == table


def test_there_are_44_free_slots_and_no_more() -> None:
    tags = [f"{chr(97 + index // 26)}{chr(97 + index % 26)}x-XX" for index in range(45)]
    table = extended_table(RELEASED, {tag: new() for tag in tags[:44]})
    assert sorted(set(table.slots.values()) - set(DEFAULT_PROMPT_SLOTS.values())) == FREE
    with pytest.raises(ConfigError, match="slot None is none"):
        extended_table(RELEASED, {tag: new() for tag in tags})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"aa-AA": new(slot=21)}, "slot 21 belongs to el-GR"),
        ({"aa-AA": new(slot=128)}, "slot 128 is none"),
        ({"aa-AA": new(slot=63), "bb-BB": new(slot=63)}, "slot 63 belongs to aa-AA"),
        ({"el-GR": new(slot=63)}, "is in slot 21 already"),
        ({"aa-AA": new(like="zz-ZZ")}, "the checkpoint has no zz-ZZ"),
    ],
)
def test_what_cannot_be_added_is_refused(given: dict[str, NewLocaleSettings], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        extended_table(RELEASED, given)


def test_stock_nemo_reads_an_added_locale_back(micro_nemo: Path, tmp_path: Path) -> None:
    import torch
    from nemo.collections.asr.models import ASRModel

    model = load_model(micro_nemo)
    before = model.prompt_kernel[0].weight.detach().clone()
    add_locales(model, {"se-NO": new(like="fi-FI"), "smj-SE": new(slot=105)})
    path = save_model(model, tmp_path / "more.nemo")
    restored = ASRModel.restore_from(str(path), map_location=torch.device("cpu"), strict=True)

    slots = restored.cfg.model_defaults.prompt_dictionary
    assert (slots["se-NO"], slots["smj-SE"], slots["nn-NO"]) == (63, 105, 104)
    assert inspect_nemo(path).prompt_table == prompt_table(restored)
    weight, hidden = restored.prompt_kernel[0].weight, 32
    assert torch.equal(weight[:, hidden + 63], before[:, hidden + slots["fi-FI"]])
    others = [column for column in range(weight.shape[1]) if column != hidden + 63]
    assert torch.equal(weight[:, others], before[:, others])
    restored.set_inference_prompt("se-NO")
    assert restored._inference_prompt_index == 63
    # Said in the new locale, an untrained model hears what it hears in the relative.
    frames = torch.randn(2, 5, hidden, generator=torch.Generator().manual_seed(1)).transpose(1, 2)
    prompted = project_prompt(restored, frames, torch.tensor([63, slots["fi-FI"]]))
    same = project_prompt(restored, frames.roll(1, 0), torch.tensor([slots["fi-FI"], 63]))
    assert torch.equal(prompted, same.roll(1, 0))


def test_nothing_to_add_changes_nothing(micro_model: EncDecRNNTBPEModelWithPrompt) -> None:
    assert add_locales(micro_model, {}) == prompt_table(micro_model)
