"""Normalising is sane for every locale: it forgives writing, never what was said."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper_normalizer.basic import BasicTextNormalizer

from asr_ray.errors import ConfigError
from asr_ray.evaluate.scoring.normalise import language_tags, normalise, tokens, view_text, views_of
from asr_ray.evaluate.scoring.policies import POLICIES
from asr_ray.locales import LOCALES, unit_of

OTHER_THAN_ENGLISH = [tag for tag in LOCALES if not tag.startswith("en")]

SENTENCES = {
    "ar-AR": ("إلى المَدْرَسَةِ؟", "الي المدرسة"),
    "bg-BG": ("Ѝ каза: „Добър ден!“", "ѝ каза добър ден"),
    "cs-CZ": ("Příliš žluťoučký kůň.", "příliš žluťoučký kůň"),
    "da-DK": ("Rødgrød med fløde!", "rødgrød med fløde"),
    "de-DE": ("Die Straße ist GROẞ.", "die straße ist groß"),
    "el-GR": ("Ο ΔΡΟΜΟΣ, ο δρόμος;", "ο δρομοσ ο δρόμοσ"),
    "en-GB": ("It's my favourite colour - isn't it?", "it is my favorite color is not it"),
    "en-US": ("Call Dr. Smith at twenty-one (please)!", "call doctor smith at 21 please"),
    "es-ES": ("¿Qué? ¡El niño!", "qué el niño"),
    "es-US": ("«Buenos días», dijo.", "buenos días dijo"),
    "et-EE": ("Õhtust, Jüri!", "õhtust jüri"),
    "fi-FI": ("Hyvää päivää.", "hyvää päivää"),
    "fr-CA": ("Aujourd\u2019hui, l\u2019hôtel…", "aujourd'hui l'hôtel"),
    "fr-FR": ("Où est-elle\u00a0?", "où est elle"),
    "he-IL": ('שָׁלוֹם, צה"ל – בית־ספר', "שלום צהל בית ספר"),
    "hi-IN": ("क्या हिन्दी है? १२।", "क्या हिन्दी है 12"),
    "hr-HR": ("Čaša, đak.", "čaša đak"),
    "hu-HU": ("Őrült tükörfúró!", "őrült tükörfúró"),
    "it-IT": ("Un po\u2019 d\u2019acqua.", "un po d'acqua"),
    "ja-JP": ("ﾃﾚﾋﾞを、見る。", "テレビを 見る"),
    "ko-KR": ("안녕하세요, 여러분!", "안녕하세요 여러분"),
    "lt-LT": ("Ačiū, šį rytą.", "ačiū šį rytą"),
    "lv-LV": ("Labrīt, ķirši!", "labrīt ķirši"),
    "mt-MT": ("Il-Ħadd ta\u2019 filgħodu.", "il ħadd ta filgħodu"),
    "nb-NO": ("På sjøen.", "på sjøen"),
    "nl-NL": ("Foto's van zeeën.", "foto's van zeeën"),
    "nn-NO": ("Kva heiter du?", "kva heiter du"),
    "pl-PL": ("Zażółć gęślą jaźń.", "zażółć gęślą jaźń"),
    "pt-BR": ("Não, coração!", "não coração"),
    "pt-PT": ("Até amanhã.", "até amanhã"),
    "ro-RO": ("Bună, Ştefan şi Ţuţu", "bună ștefan și țuțu"),
    "ru-RU": ("Ещё раз, Ёж!", "еще раз еж"),
    "sk-SK": ("Ľúbezný ďateľ.", "ľúbezný ďateľ"),
    "sl-SI": ("Žabe, čmrlji.", "žabe čmrlji"),
    "sv-SE": ("Åka till Ängelholm.", "åka till ängelholm"),
    "th-TH": ("สวัสดี ครับ ๑๒", "สวัสดี ครับ 12"),
    "tr-TR": ("İSTANBUL'DA IŞIK", "istanbul'da ışık"),
    "uk-UA": ("М\u02bcяч у п\u2019єсі.", "м'яч у п'єсі"),
    "vi-VN": ("Tiếng Việt, được!", "tiếng việt được"),
    "zh-CN": ("你好，世界！", "你好 世界"),
}


def test_there_is_an_example_for_every_locale() -> None:
    assert SENTENCES.keys() == LOCALES.keys() == POLICIES.keys()


@pytest.mark.parametrize("locale", sorted(SENTENCES))
def test_normalises_a_sentence(locale: str) -> None:
    written, expected = SENTENCES[locale]
    assert normalise(written, locale=locale) == unicodedata.normalize("NFKC", expected)


@pytest.mark.parametrize("locale", sorted(SENTENCES))
def test_case_punctuation_and_tag_never_cost_an_error(locale: str) -> None:
    sentence = normalise(SENTENCES[locale][0], locale=locale)
    decorated = f"\u201c{sentence}!\u201d <{locale}>"
    assert normalise(decorated, locale=locale) == normalise(sentence, locale=locale)


@settings(max_examples=400)
@given(text=st.text(max_size=40), locale=st.sampled_from(OTHER_THAN_ENGLISH))
def test_normalising_twice_changes_nothing_more(text: str, locale: str) -> None:
    once = normalise(text, locale=locale)
    assert normalise(once, locale=locale) == once
    assert once == " ".join(once.split())


@settings(max_examples=300)
@given(text=st.text(alphabet=st.sampled_from("0123456789.,/$%£ '-½³٣oneIVXthmilda"), max_size=40))
def test_english_accepts_whatever_a_model_writes(text: str) -> None:
    normalise(text, locale="en-US")


def test_composed_and_decomposed_letters_are_one_letter_in_every_view() -> None:
    for view in ("raw", "normalised"):
        seen = {
            view_text(unicodedata.normalize(form, "Καλημέρα"), locale="el-GR", view=view)
            for form in ("NFC", "NFD")
        }
        assert len(seen) == 1


def test_english_keeps_the_words_inside_brackets() -> None:
    assert normalise("we met (by chance) [here] <there>", locale="en-US") == "we met by chance here there"


def test_a_vowel_sign_is_an_error_where_it_carries_a_vowel() -> None:
    assert normalise("कि", locale="hi-IN") != normalise("की", locale="hi-IN")
    assert normalise("ที่", locale="th-TH") != normalise("ทิ", locale="th-TH")
    assert normalise("πότε", locale="el-GR") != normalise("ποτέ", locale="el-GR")


def test_raw_view_keeps_case_and_punctuation_but_not_the_tag() -> None:
    assert view_text("  Γεια σου,\n κόσμε! <el-GR>", locale="el-GR", view="raw") == "Γεια σου, κόσμε!"


def test_language_tags_are_read_in_order() -> None:
    assert language_tags("hello <en-US> <b> γεια <el-GR> <xx> <fil-PH>") == ("en-US", "el-GR", "fil-PH")


def test_tokens_are_words_or_characters_without_blanks() -> None:
    assert tokens("ab c", unit="wer") == ["ab", "c"]
    assert tokens("你 好", unit="cer") == ["你", "好"]
    assert {tag for tag in LOCALES if unit_of(tag) == "cer"} == {"ja-JP", "ko-KR", "zh-CN", "th-TH"}


BASIC = BasicTextNormalizer()
WITHOUT_DIACRITICS = BasicTextNormalizer(remove_diacritics=True)


@pytest.mark.parametrize(
    ("locale", "text", "expected"),
    [
        ("hi-IN", "हिन्दी में पढ़ना", "हिन्दी में पढ़ना"),
        ("th-TH", "เก็บน้ำที่นี่", "เก็บน้ําที่นี่"),
        ("ar-AR", "كَتَبَ الدَّرْسَ", "كتب الدرس"),
        ("he-IL", "שָׁלוֹם עוֹלָם", "שלום עולם"),
        ("tr-TR", "İstanbul", "istanbul"),
    ],
)
def test_words_that_the_basic_whisper_normaliser_breaks_stay_whole(
    locale: str, text: str, expected: str
) -> None:
    assert len(BASIC(text).split()) > len(text.split())
    assert normalise(text, locale=locale).split() == unicodedata.normalize("NFKC", expected).split()


@pytest.mark.parametrize(
    ("locale", "one", "other"),
    [
        ("hi-IN", "कि", "की"),
        ("th-TH", "ที่", "ทา"),
        ("ja-JP", "ガ", "カ"),
        ("fr-FR", "pêché", "peche"),
        ("de-DE", "Maße", "Masse"),
        ("pl-PL", "łoś", "los"),
        ("da-DK", "bønder", "bonder"),
    ],
)
def test_true_errors_that_removing_diacritics_hides_are_counted(locale: str, one: str, other: str) -> None:
    if locale not in ("hi-IN", "th-TH"):
        assert WITHOUT_DIACRITICS(one) == WITHOUT_DIACRITICS(other)
    assert normalise(one, locale=locale) != normalise(other, locale=locale)


def test_capitals_of_turkish_and_greek_are_their_own() -> None:
    assert normalise("ISPARTA", locale="tr-TR") == normalise("ısparta", locale="tr-TR") == "ısparta"
    assert normalise("ISPARTA", locale="de-DE") == "isparta"
    assert normalise("İzmir", locale="tr-TR") == normalise("izmir", locale="tr-TR") == "izmir"
    assert (
        normalise("ΟΔΟΣ", locale="el-GR")
        == normalise("οδος", locale="el-GR")
        == normalise("οδοσ", locale="el-GR")
    )


def test_the_language_tag_is_read_before_anything_deletes_it() -> None:
    text = "Καλημέρα <el-GR>"
    assert "el" not in BASIC(text)
    assert language_tags(text) == ("el-GR",)
    assert normalise(text, locale="el-GR") == "καλημέρα"


def test_compatibility_forms_are_one_in_scoring() -> None:
    assert normalise("ｶﾞ１２", locale="ja-JP") == normalise("ガ12", locale="ja-JP")
    assert normalise("ﬁn", locale="fr-FR") == "fin"
    assert view_text("ﬁn", locale="fr-FR", view="raw") == "ﬁn"


@pytest.mark.parametrize(
    ("locale", "one", "other"),
    [
        ("fr-FR", "L’ œuvre d' art", "l'oeuvre d'art"),
        ("fr-FR", "Quoi ? « Oui » !", "quoi oui"),
        ("vi-VN", "hoà bình, thuỷ thủ", "hòa bình thủy thủ"),
        ("vi-VN", "Nguyễn Thị Hòa", unicodedata.normalize("NFD", "Nguyễn Thị Hoà")),
        ("th-TH", "นํ้า เเม่", "น้ำ แม่"),
        ("hi-IN", "दु:ख", "दुःख"),
        ("hi-IN", "क्‍ष", "क्ष"),
        ("ar-AR", "عــلى", "علي"),
        ("ar-AR", "كتاب", "کتاب"),
        ("he-IL", "צה״ל", 'צה"ל'),
        ("ro-RO", "Timişoara", "timișoara"),
        ("ru-RU", "Всё", "все"),
        ("it-IT", "L’acqua", "l'acqua"),
        ("mt-MT", "ta’ Malta", "ta Malta"),
        ("ko-KR", unicodedata.normalize("NFD", "한국어"), "한국어"),
        ("zh-CN", "你好，ＡＢＣ！", "你好 abc"),
    ],
)
def test_writers_differ_and_cost_nothing(locale: str, one: str, other: str) -> None:
    assert normalise(one, locale=locale) == normalise(other, locale=locale)


def test_vietnamese_tones_stay_where_they_tell_words_apart() -> None:
    assert normalise("quý", locale="vi-VN") == "quý"
    assert normalise("hoàng toàn", locale="vi-VN") == "hoàng toàn"
    assert normalise("hoa", locale="vi-VN") != normalise("hoà", locale="vi-VN")


def test_unfolded_view_shows_what_the_rules_forgive() -> None:
    pairs = {"ar-AR": ("إلى المَدْرَسَةِ", "الى المدرسة"), "ru-RU": ("всё", "все"), "he-IL": ("שָׁלוֹם", "שלום")}
    for locale, (one, other) in pairs.items():
        assert "unfolded" in views_of(locale)
        assert view_text(one, locale=locale, view="unfolded") != view_text(
            other, locale=locale, view="unfolded"
        )
    # Nothing is forgiven in German, and reading Turkish capitals right forgives nothing.
    assert "unfolded" not in views_of("de-DE")
    assert "unfolded" not in views_of("tr-TR")


def test_a_view_that_a_language_does_not_have_is_an_error() -> None:
    assert "number_canonical" not in views_of("sw-KE")
    with pytest.raises(ConfigError, match="sw-KE has no number_canonical view"):
        view_text("1976", locale="sw-KE", view="number_canonical")


def test_locales_outside_the_table_follow_their_language() -> None:
    assert normalise("ISPARTA", locale="tr-CY") == normalise("ISPARTA", locale="az-AZ") == "ısparta"
    assert normalise("It's twenty-one", locale="en-IN") == "it is 21"


@settings(max_examples=200)
@given(text=st.text(max_size=40), locale=st.sampled_from(OTHER_THAN_ENGLISH))
def test_number_view_of_a_text_without_digits_is_the_normalised_one(text: str, locale: str) -> None:
    words = "".join(character for character in text if not character.isdigit() and not character.isnumeric())
    seen = view_text(words, locale=locale, view="number_canonical")
    assert seen == normalise(words, locale=locale)
