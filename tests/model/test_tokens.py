from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asr_ray.locales import LOCALES
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.model.tokens import NemoTokenizer, strip_tags
from asr_ray.records import Tokenizer

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt


@pytest.fixture(scope="module")
def tokenizer(micro_nemo: Path) -> NemoTokenizer:
    return NemoTokenizer.from_nemo(micro_nemo)


def test_ids_equal_those_of_the_model(
    tokenizer: NemoTokenizer,
    micro_model: EncDecRNNTBPEModelWithPrompt,
    sentences: Mapping[str, Sequence[str]],
) -> None:
    texts = [text for texts in sentences.values() for text in texts]
    for text in [*texts, "", "  two  blanks ", "Αθήνα <el-GR>", "漢字?", "<xx-YY>"]:
        assert tokenizer.encode(text) == micro_model.tokenizer.text_to_ids(text)


def test_sentences_survive_the_round_trip(
    tokenizer: NemoTokenizer, sentences: Mapping[str, Sequence[str]]
) -> None:
    for texts in sentences.values():
        assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == list(texts)


def test_sizes_and_unknown(
    tokenizer: NemoTokenizer, micro_model: EncDecRNNTBPEModelWithPrompt, micro_nemo: Path
) -> None:
    protocol: Tokenizer = tokenizer
    assert protocol.vocabulary_size == micro_model.joint.num_classes_with_blank - 1
    assert protocol.vocabulary_size == inspect_nemo(micro_nemo).vocabulary_size
    assert protocol.unknown_id in protocol.encode("漢")


def test_each_tag_is_one_piece(tokenizer: NemoTokenizer) -> None:
    ends = {tag: tokenizer.encode(f"x <{tag}>")[-1] for tag in LOCALES}
    assert len(set(ends.values())) == len(LOCALES)
    assert all(tokenizer.decode([piece]) == f"<{tag}>" for tag, piece in ends.items())


def test_it_pickles_as_its_bytes(tokenizer: NemoTokenizer) -> None:
    expected = tokenizer.encode("Turn on the light.")
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < len(tokenizer.model) + 200
    copy = pickle.loads(pickled)
    assert copy == tokenizer
    assert copy.encode("Turn on the light.") == expected
    assert copy.digest == tokenizer.digest


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("Καλημέρα. <el-GR>", "Καλημέρα."),
        ("Aloha. <haw-US>", "Aloha."),
        ("One. <en-US> Dos. <es-ES>", "One. Dos."),
        ("<en-US> Hello", "Hello"),
        ("<el-GR>", ""),
        ("Bonjour ! ", "Bonjour ! "),
        ("a <b> c <en> <EN-us> <en-USA>", "a <b> c <en> <EN-us> <en-USA>"),
        ("", ""),
    ],
)
def test_strip_tags(text: str, stripped: str) -> None:
    assert strip_tags(text) == stripped
