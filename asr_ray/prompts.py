"""Which prompt slot an utterance gets: by its locale, by `auto`, or by a reproducible draw of the two.

Pure and free of torch, so that the data workers decide it and the plan can predict it.
"""

from __future__ import annotations

import hashlib

from asr_ray.errors import ConfigError
from asr_ray.locales import PromptMode, check_locale
from asr_ray.records import PromptTable

_UNIT_DRAWS = 2**64


def choose_slot(
    utterance_id: str,
    *,
    locale: str,
    mode: PromptMode,
    auto_share: float,
    seed: int,
    epoch: int,
    table: PromptTable,
) -> int:
    """Return the prompt slot of one utterance in one epoch.

    `langID` is the slot of `locale`, `auto` the slot for detection, and `unified` is `auto` with
    probability `auto_share`, drawn from a hash of (seed, epoch, id): the same in every process, on any
    number of ranks, and another draw in each epoch.

    Raises:
        ConfigError: the checkpoint does not know `locale`, or has no `auto` slot and needs one.
    """
    locale_slot = table.slots[check_locale(locale, known=table.slots, where=f"utterance {utterance_id}")]
    if mode == "langID":
        return locale_slot
    if mode == "unified" and _draw(utterance_id, seed=seed, epoch=epoch) >= auto_share:
        return locale_slot
    if "auto" not in table.slots:
        raise ConfigError(
            f"prompt mode {mode!r} needs the slot 'auto', which this checkpoint does not have",
            fix="set the prompt mode to langID",
        )
    return table.auto_slot


def _draw(utterance_id: str, *, seed: int, epoch: int) -> float:
    """Return a number in [0, 1) that looks uniform over ids and over epochs."""
    digest = hashlib.blake2b(f"{seed}\0{epoch}\0{utterance_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _UNIT_DRAWS
