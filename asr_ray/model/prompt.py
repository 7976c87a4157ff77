"""Reading the language-prompt table out of a checkpoint.

The table a checkpoint was trained with is the only one that is right for it: an added locale lives in
its own configuration, never in a table of ours. Choosing a slot for an utterance is pure and shared
with the data package: `asr_ray.prompts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asr_ray.errors import ConfigError, DataError
from asr_ray.records import PromptTable
from asr_ray.settings.model import NewLocaleSettings

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


def extended_table(table: PromptTable, new_locales: Mapping[str, NewLocaleSettings]) -> PromptTable:
    """Return the table with locales added, each in the slot it names or in the lowest free one.

    A locale that stands there already, in the slot that is asked for, changes nothing: a run may start from
    the model of another that added it.

    Raises:
        ConfigError: a slot or locale is taken, a slot is none, or a relative is unknown.
    """
    slots = dict(table.slots)
    wanted = {new.slot for new in new_locales.values() if new.slot is not None}
    for tag, new in new_locales.items():
        if tag in table.slots and new.slot in (None, table.slots[tag]):
            continue
        used = set(slots.values())
        free = [slot for slot in range(table.num_slots) if slot not in used]
        slot = new.slot if new.slot is not None else next((s for s in free if s not in wanted), None)
        where = f"model.new_locales.{tag}"
        if tag in slots:
            raise ConfigError(f"{where}: is in slot {slots[tag]} already", fix="take out the slot")
        if slot not in free:
            taken = next((key for key, used_slot in slots.items() if used_slot == slot), None)
            raise ConfigError(
                f"{where}: slot {slot} {f'belongs to {taken}' if taken else 'is none'}",
                fix=f"take out the slot, or use a free one: {free}",
            )
        if new.like is not None and new.like not in table.slots:
            raise ConfigError(f"{where}.like: the checkpoint has no {new.like}", fix="name one that it has")
        slots[tag] = slot
    return PromptTable(slots=slots, num_slots=table.num_slots)


def add_locales(
    model: EncDecRNNTBPEModelWithPrompt, new_locales: Mapping[str, NewLocaleSettings]
) -> PromptTable:
    """Add locales to the dictionary of a model, which is saved with it, and return its new table.

    The column of a new slot in the prompt projection becomes that of its relative where one is named.

    Raises:
        ConfigError: as `extended_table`.
    """
    before = prompt_table(model)
    after = extended_table(before, new_locales)
    added = {tag: slot for tag, slot in after.slots.items() if tag not in before.slots}
    if not added:
        return after
    from omegaconf import open_dict

    with open_dict(model.cfg):
        for section in _sections_with_dictionary(model.cfg):
            for tag, slot in added.items():
                section.prompt_dictionary[tag] = slot
    # The one-hot vector stands behind the encoder's channels.
    projection = model.prompt_kernel[0].weight.data
    columns = projection[:, projection.shape[1] - after.num_slots :]
    for tag, slot in added.items():
        relative = new_locales[tag].like
        if relative is not None:
            columns[:, slot] = columns[:, before.slots[relative]]
    return after


def _sections_with_dictionary(config: Any) -> list[Any]:
    """Every section of a configuration that names slots: NeMo's loaders have copies of their own."""
    names = ("model_defaults", "train_ds", "validation_ds", "test_ds")
    sections = [config.get(name) for name in names]
    return [section for section in sections if section and "prompt_dictionary" in section]


def _is_slot(value: object, num_slots: int) -> bool:
    return isinstance(value, int) and 0 <= value < num_slots
