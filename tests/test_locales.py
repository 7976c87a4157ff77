"""The table of locales against the model card and the prompt dictionary that ships with the model."""

from __future__ import annotations

import ast
from collections import Counter
from importlib.metadata import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import ConfigError
from asr_ray.locales import (
    DEFAULT_PROMPT_SLOTS,
    LOCALES,
    NUM_PROMPT_SLOTS,
    check_locale,
    nearest,
    unit_of,
)


def shipped_prompt_dictionary() -> dict[str, int]:
    """`DEFAULT_PROMPT_DICTIONARY` of transformers, read without importing it (and torch)."""
    (path,) = (
        Path(str(file.locate()))
        for file in files("transformers") or ()
        if file.name == "processing_nemotron3_5_asr.py"
    )
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == "DEFAULT_PROMPT_DICTIONARY" for each in targets):
            slots: dict[str, int] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return slots
    raise LookupError(f"{path} has no DEFAULT_PROMPT_DICTIONARY")


def test_the_slots_are_those_of_the_released_model() -> None:
    assert shipped_prompt_dictionary() == DEFAULT_PROMPT_SLOTS


def test_slots_fit_into_the_one_hot_vector_and_locales_do_not_share_one() -> None:
    assert all(0 <= slot < NUM_PROMPT_SLOTS for slot in DEFAULT_PROMPT_SLOTS.values())
    assert len({locale.slot for locale in LOCALES.values()}) == len(LOCALES)


def test_forty_locales_in_the_tiers_of_the_model_card() -> None:
    assert len(LOCALES) == 40
    assert Counter(locale.tier for locale in LOCALES.values()) == {"ready": 19, "broad": 13, "adaptation": 8}


def test_each_locale_stands_under_its_own_tag_and_slot() -> None:
    for tag, locale in LOCALES.items():
        assert locale.tag == tag
        assert DEFAULT_PROMPT_SLOTS[tag] == locale.slot


def test_four_languages_are_scored_in_characters() -> None:
    assert {tag for tag in LOCALES if unit_of(tag) == "cer"} == {"ja-JP", "ko-KR", "zh-CN", "th-TH"}
    assert unit_of("sw-KE") == "wer"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("el-GK", "el-GR"), ("EL-gr", "el-GR"), ("bgBG", "bg-BG"), ("jp-JP", "ja-JP"), ("qqqqqq", "")],
)
def test_nearest_forgives_spelling_and_case(typed: str, meant: str) -> None:
    assert nearest(typed, LOCALES) == meant


@given(name=st.text())
def test_nearest_answers_with_a_known_name_or_none(name: str) -> None:
    assert nearest(name, LOCALES) in {"", *LOCALES}


@given(tag=st.sampled_from(sorted(LOCALES)))
def test_a_known_name_is_nearest_to_itself(tag: str) -> None:
    assert nearest(tag, LOCALES) == tag
    assert check_locale(tag, known=LOCALES, where="mix") == tag


def test_check_locale_says_where_and_what_was_meant() -> None:
    with pytest.raises(ConfigError, match=r"m\.jsonl:7: unknown locale 'el-GK'") as caught:
        check_locale("el-GK", known=LOCALES, where="m.jsonl:7")
    assert caught.value.fix == "did you mean 'el-GR'?"

    with pytest.raises(ConfigError) as caught:
        check_locale("qqqqqq", known=["el-GR", "bg-BG"], where="mix")
    assert caught.value.fix == "use one of bg-BG, el-GR"
