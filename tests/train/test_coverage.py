"""What the tokenizer has no piece for is told before training, by locale, and there is a limit."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.config import load
from asr_ray.data.planned import PlannedData
from asr_ray.data.read import RowAddress
from asr_ray.errors import DataError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS
from asr_ray.records import PromptTable
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import noise_utterances, write_prepared
from asr_ray.train.coverage import (
    Coverage,
    check_coverage,
    coverage_of,
    measure_coverage,
    read_texts,
    write_coverage,
)

COUNTS = {("el-GR", "radio"): 9, ("el-GR", "books"): 5, ("bg-BG", "radio"): 6, ("en-US", "radio"): 4}


class LatinTokenizer:
    """A token a character; blanks are 1, Latin letters 2, all else is unknown."""

    vocabulary_size = 3
    unknown_id = 0
    digest = "latin"

    def encode(self, text: str) -> list[int]:
        return [1 if each == " " else 2 if each.isascii() else 0 for each in text]


@given(texts=st.lists(st.text(alphabet="ab žλя", max_size=12), max_size=8))
def test_every_unknown_token_is_counted_and_every_character_behind_it_named(texts: list[str]) -> None:
    found = coverage_of(texts, tokenizer=LatinTokenizer())
    whole = "".join(texts)
    assert (found.utterances, found.tokens) == (len(texts), len(whole))
    assert found.characters == {each: whole.count(each) for each in "žλя" if each in whole}
    assert found.unknown_tokens == sum(found.characters.values())
    assert found.unknown_share == (found.unknown_tokens / len(whole) if whole else 0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_prepared(folder, COUNTS, tokenizer=LatinTokenizer())
    return folder


def measured(root: Path, *sets: str) -> Mapping[str, Coverage]:
    given = (f"data.train={root}", "data.validation=v", "run_dir=r", "model.base=tiny")
    settings = load(
        None,
        schema=TrainSettings,
        sets=[*given, "validation.targets=[el-GR]", "max_steps=9", "optim.warmup_steps=1", *sets],
    ).settings
    prompts = PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS)
    return measure_coverage(PlannedData.build(settings, tokenizer=LatinTokenizer(), prompts=prompts))


def test_all_texts_of_all_locales_in_use_are_looked_at(root: Path) -> None:
    coverage = measured(root, "data.mix.ratios={el-GR: 1, bg-BG: 1}")
    assert set(coverage) == {"el-GR", "bg-BG"}
    for locale, found in coverage.items():
        texts = [
            utterance.text
            for key, count in COUNTS.items()
            if key[0] == locale
            for utterance in noise_utterances(key, count=count)
        ]
        assert found == coverage_of(texts, tokenizer=LatinTokenizer())
        assert found.utterances == len(texts)


def test_tags_that_are_appended_are_part_of_the_text(root: Path) -> None:
    plain, tagged = (measured(root, f"data.tags={tags}")["en-US"] for tags in ("none", "append"))
    assert tagged.tokens == plain.tokens + plain.utterances * len(" <en-US>")


def test_beyond_the_limit_nothing_starts(caplog: pytest.LogCaptureFixture) -> None:
    good = Coverage(utterances=9, tokens=900, unknown_tokens=0, characters={})
    some = Coverage(utterances=9, tokens=1000, unknown_tokens=10, characters={"ž": 10})
    much = Coverage(utterances=9, tokens=1000, unknown_tokens=740, characters={"ọ": 700, "ẹ": 40})
    with caplog.at_level(logging.WARNING):
        check_coverage({"en-US": good, "sl-SI": some}, max_unknown_share=0.01)
    assert caplog.messages == ["sl-SI: the tokenizer has no piece for 1.00% of the tokens ('ž')"]

    with pytest.raises(DataError, match=r"yo-NG: .* 74.00% of the tokens \('ọ' 'ẹ'\)") as caught:
        check_coverage({"en-US": good, "sl-SI": some, "yo-NG": much}, max_unknown_share=0.01)
    assert caught.value.exit_code == 3
    assert "sl-SI" not in caught.value.message


def test_the_report_can_be_read_by_others(tmp_path: Path) -> None:
    some = Coverage(utterances=9, tokens=1000, unknown_tokens=10, characters={"ž": 10})
    write_coverage(tmp_path / "coverage.json", coverage={"sl-SI": some})
    tree = json.loads((tmp_path / "coverage.json").read_text(encoding="utf-8"))
    assert tree["sl-SI"] == {
        "utterances": 9,
        "tokens": 1000,
        "unknown_tokens": 10,
        "characters": {"ž": 10},
        "unknown_share": 0.01,
    }


def test_a_missing_shard_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.parquet: row group 0 cannot be read"):
        read_texts(root, [RowAddress("absent.parquet", 0, 0)])
