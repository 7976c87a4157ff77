"""Reading the language-prompt table out of a checkpoint.

The table a checkpoint was trained with is the only one that is right for it: an added locale lives in
its own configuration, never in a table of ours. Choosing a slot for an utterance is pure and shared
with the data package: `asr_ray.prompts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asr_ray.errors import DataError
from asr_ray.records import PromptTable

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

DEFAULT_NUM_PROMPTS = 128
"""NeMo's width of the one-hot prompt where a configuration names none."""


def prompt_table(source: EncDecRNNTBPEModelWithPrompt | Mapping[str, Any]) -> PromptTable:
    """Return the prompt table of a model, or of the configuration inside its archive.

    Raises:
        DataError: no dictionary there, or a slot outside the one-hot vector.
    """
    config = source if isinstance(source, Mapping) else source.cfg
    defaults = config.get("model_defaults") or {}
    dictionary = defaults.get("prompt_dictionary") or {}
    num_slots = defaults.get("num_prompts", DEFAULT_NUM_PROMPTS)
    if not dictionary:
        raise DataError(
            "the checkpoint has no prompt dictionary (model_defaults.prompt_dictionary)",
            fix="use a checkpoint of EncDecRNNTBPEModelWithPrompt that was saved with its dictionary",
        )
    slots = {str(key): slot for key, slot in dictionary.items()}
    outside = {key: slot for key, slot in slots.items() if not _is_slot(slot, num_slots)}
    if outside:
        raise DataError(f"prompt slots outside 0..{num_slots - 1}: {outside}")
    return PromptTable(slots=slots, num_slots=num_slots)


def _is_slot(value: object, num_slots: int) -> bool:
    return isinstance(value, int) and 0 <= value < num_slots
