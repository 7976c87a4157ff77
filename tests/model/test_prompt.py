from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asr_ray.errors import DataError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.model.prompt import prompt_table

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
