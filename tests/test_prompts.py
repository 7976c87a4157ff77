from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS, PromptMode
from asr_ray.prompts import choose_slot
from asr_ray.records import PromptTable

TABLE = PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS)


def choose(
    utterance_id: str = "u",
    *,
    locale: str = "el-GR",
    mode: PromptMode = "unified",
    auto_share: float = 0.5,
    seed: int = 1,
    epoch: int = 0,
    table: PromptTable = TABLE,
) -> int:
    return choose_slot(
        utterance_id, locale=locale, mode=mode, auto_share=auto_share, seed=seed, epoch=epoch, table=table
    )


@pytest.mark.parametrize("key", [key for key in DEFAULT_PROMPT_SLOTS if key != "auto"])
def test_every_slot_of_the_released_checkpoint_is_reached(key: str) -> None:
    assert choose(locale=key, mode="langID") == DEFAULT_PROMPT_SLOTS[key]
    assert choose(locale=key, mode="auto") == 101


def test_the_two_written_norwegians_and_the_old_tag_are_three_languages() -> None:
    slots = [choose(locale=tag, mode="langID") for tag in ("nb-NO", "nn-NO", "no-NO")]
    assert slots == [103, 104, 27]


@given(st.text(), st.integers(), st.integers(min_value=0))
def test_lang_id_and_auto_do_not_depend_on_the_draw(utterance_id: str, seed: int, epoch: int) -> None:
    assert choose(utterance_id, mode="langID", seed=seed, epoch=epoch) == 21
    assert choose(utterance_id, mode="auto", seed=seed, epoch=epoch) == 101


@given(st.text(), st.integers(), st.integers(min_value=0), st.floats(0, 1))
def test_unified_is_reproducible_and_one_of_the_two(
    utterance_id: str, seed: int, epoch: int, auto_share: float
) -> None:
    slot = choose(utterance_id, seed=seed, epoch=epoch, auto_share=auto_share)
    assert slot in {21, 101}
    assert slot == choose(utterance_id, seed=seed, epoch=epoch, auto_share=auto_share)


@given(st.text(), st.integers())
def test_share_of_zero_and_one_are_exact(utterance_id: str, seed: int) -> None:
    assert choose(utterance_id, seed=seed, auto_share=0.0) == 21
    assert choose(utterance_id, seed=seed, auto_share=1.0) == 101


@pytest.mark.parametrize("auto_share", [0.1, 0.5, 0.8])
def test_unified_meets_its_share(auto_share: float) -> None:
    slots = [choose(f"utterance-{i}", auto_share=auto_share) for i in range(10_000)]
    assert slots.count(101) / len(slots) == pytest.approx(auto_share, abs=0.015)


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 1}])
def test_seed_and_epoch_draw_anew(other: dict[str, int]) -> None:
    ids = [f"utterance-{i}" for i in range(2_000)]
    changed = sum(choose(i) != choose(i, **other) for i in ids)  # type: ignore[arg-type]
    assert changed / len(ids) == pytest.approx(0.5, abs=0.05)


def test_unknown_locale_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'el-GX'.*\n.*el-GR"):
        choose(locale="el-GX", mode="langID")


def test_auto_needs_its_slot() -> None:
    without = PromptTable(slots={"el-GR": 21}, num_slots=128)
    assert choose(mode="langID", table=without) == 21
    with pytest.raises(ConfigError, match="langID"):
        choose(mode="auto", table=without)
