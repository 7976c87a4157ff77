"""The same few utterances of each locale, in every process and on every day."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_ray.data.heldout import heldout_locales, read_heldout
from asr_ray.errors import DataError
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.prepared import noise_utterances, write_prepared

COUNTS = {("el-GR", "a"): 5, ("bg-BG", "a"): 3, ("el-GR", "b"): 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_prepared(folder, COUNTS, tokenizer=FakeTokenizer())
    return folder


def test_the_locales_are_those_of_the_catalog(root: Path) -> None:
    assert heldout_locales(root) == ["bg-BG", "el-GR"]


def test_the_first_of_each_locale_in_the_order_of_the_catalog(root: Path) -> None:
    chosen = read_heldout(root, locales=["el-GR", "bg-BG"], utterances_per_locale=6)

    greek = [*noise_utterances(("el-GR", "a"), count=5), *noise_utterances(("el-GR", "b"), count=4)]
    assert list(chosen) == ["el-GR", "bg-BG"]
    assert [each.id for each in chosen["el-GR"]] == [each.id for each in greek[:6]]
    assert [each.audio for each in chosen["el-GR"]] == [each.audio for each in greek[:6]]
    assert len(chosen["bg-BG"]) == 3


def test_none_takes_all(root: Path) -> None:
    assert len(read_heldout(root, locales=["el-GR"], utterances_per_locale=None)["el-GR"]) == 9


def test_a_locale_that_is_not_there_is_named_with_those_that_are(root: Path) -> None:
    with pytest.raises(DataError, match=r"no utterance of ja-JP \(it has bg-BG, el-GR\)"):
        read_heldout(root, locales=["el-GR", "ja-JP"], utterances_per_locale=1)


def test_a_folder_without_a_catalog_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no catalog .*catalog\.parquet"):
        read_heldout(tmp_path, locales=["el-GR"], utterances_per_locale=1)
