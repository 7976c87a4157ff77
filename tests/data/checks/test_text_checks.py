"""Encodings gone wrong are found, honest text is not touched, equal words have equal hashes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.checks.text_checks import control_character, mojibake, spoken_characters, text_hash

SENTENCES = {
    "fr-FR": "Ça va ? Où est l’élève naïve… « là-bas »",
    "de-DE": "Spaß, „Übermut“ und Größe – für 5 €",
    "pt-PT": "Não há maçãs amanhã; às vezes, avó",
    "pl-PL": "Zażółć gęślą jaźń",
    "ro-RO": "Și țara aceasta e frumoasă",
    "vi-VN": "Tiếng Việt rất đẹp",
    "tr-TR": "Şişli'de İstanbul'un ışığı",
    "el-GR": "Καλημέρα, τι κάνεις;",
    "ru-RU": "Съешь ещё этих мягких булок",
    "he-IL": "שלום עולם",
    "ar-AR": "مرحبا، كيف حالك؟",
    "hi-IN": "नमस्ते दुनिया।",
    "th-TH": "สวัสดีครับ",
    "ja-JP": "今日は、いい天気ですね。",
    "ko-KR": "안녕하세요",
    "zh-CN": "你好，世界。",
}

every_sentence = pytest.mark.parametrize(("locale", "sentence"), SENTENCES.items())


@every_sentence
def test_honest_text_passes(locale: str, sentence: str) -> None:
    for text in (sentence, sentence.upper(), sentence.lower(), unicodedata.normalize("NFD", sentence)):
        assert mojibake(text, locale=locale) is None
        assert control_character(text) is None


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@every_sentence
def test_utf_8_in_another_encoding_is_found(locale: str, sentence: str, encoding: str) -> None:
    # As browsers do: bytes that Windows-1252 leaves undefined keep their numbers.
    broken = "".join(
        bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in sentence.encode("utf-8")
    )

    assert mojibake(broken, locale=locale) is not None


@pytest.mark.parametrize(
    "text",
    [
        "«CAFÉ»",
        "CAFÉ…",
        "HYVÄ…",
        "AMANHÃ”",
        "Spaß…",
        "der Fuß”",
        "É»",
        "30 °C",
        "â, î și ă",
        "naïve",
        "Ångström",
        "¿Qué?",
        "Ñandú",
    ],
)
def test_marks_behind_accented_letters_are_no_evidence(text: str) -> None:
    assert mojibake(text, locale="fr-FR") is None


@pytest.mark.parametrize("text", ["cafÃ©", "itâ€™s", "Â¿QuÃ©?", "dÃ©jÃ\xa0 vu", "na\ufffdve", "Ã‰TÃ‰"])
def test_common_accidents_are_found(text: str) -> None:
    assert mojibake(text, locale="fr-FR") is not None


def test_broken_punctuation_is_found_beside_honest_letters() -> None:
    assert mojibake("Είπε â€œναιâ€\x9d", locale="el-GR") is not None


@given(st.text(st.characters(max_codepoint=0x7F), max_size=40))
def test_ascii_is_never_mojibake(text: str) -> None:
    assert mojibake(text, locale="en-US") is None


@given(st.text(max_size=40), st.sampled_from(sorted(SENTENCES)))
def test_any_text_can_be_judged(text: str, locale: str) -> None:
    assert mojibake(text, locale=locale) is None or not text.isascii()


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\x9d"])
def test_control_characters_are_found(character: str) -> None:
    assert control_character(f"a{character}b") == character


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "می\u200cخواهم", "\u200fשלום", "क्\u200dष"])
def test_white_space_joiners_and_directions_are_no_control_characters(text: str) -> None:
    assert control_character(text) is None


def test_case_punctuation_and_form_do_not_change_the_hash() -> None:
    texts = ["Τι κάνεις;", "ΤΙ ΚΆΝΕΙΣ", unicodedata.normalize("NFD", "τι κάνεις"), "τι  κάνεις…"]

    assert len({text_hash(text, locale="el-GR") for text in texts}) == 1
    assert text_hash("Τι έκανες;", locale="el-GR") != text_hash(texts[0], locale="el-GR")


def test_the_same_words_in_two_locales_are_two_texts() -> None:
    assert text_hash("Taxi", locale="en-US") != text_hash("Taxi", locale="de-DE")


def test_vowel_signs_count() -> None:
    assert spoken_characters("กา") != spoken_characters("กี")
    assert spoken_characters("कि") != spoken_characters("का")
