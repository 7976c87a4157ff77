"""A number in digits and its words are one text in the number-canonical view, in every locale."""

from __future__ import annotations

import pytest

from asr_ray.evaluate.scoring.normalise import normalise, view_text
from asr_ray.evaluate.scoring.number_words import join_digits, spell_numbers
from asr_ray.evaluate.scoring.policies import POLICIES, NumberWords, policy_of
from asr_ray.locales import LOCALES

SENTENCES = {
    "ar-AR": ("في القرية 1976 شخصا و 25 بيتا.", "في القرية ألف وتسعمائة وستة وسبعون شخصا و خمسة وعشرون بيتا"),
    "bg-BG": (
        "Селото има 1976 жители и 25 къщи.",
        "Селото има хиляда деветстотин седемдесет и шест жители и двадесет и пет къщи.",
    ),
    "cs-CZ": (
        "Ve vsi žije 1976 lidí a stojí 25 domů.",
        "Ve vsi žije tisíc devět set sedmdesát šest lidí a stojí dvacet pět domů.",
    ),
    "da-DK": (
        "I 1976 var der 25 huse.",
        "I nittenhundrede og seksoghalvfjerds var der femogtyve huse.",
    ),
    "de-DE": (
        "Im Jahr 1976 standen hier 25 Häuser.",
        "Im Jahr neunzehnhundertsechsundsiebzig standen hier fünfundzwanzig Häuser.",
    ),
    "el-GR": (
        "Έχει 1976 κατοίκους, 25 σπίτια και 3.000 δέντρα.",
        "Έχει χίλια εννιακόσια εβδομήντα έξι κατοίκους, είκοσι πέντε σπίτια και τρεις χιλιάδες δέντρα.",
    ),
    "en-GB": (
        "It opened in 1976 with 25 rooms.",
        "It opened in nineteen seventy-six with twenty-five rooms.",
    ),
    "en-US": (
        "It opened in 1976 with 25 rooms.",
        "It opened in nineteen seventy-six with twenty-five rooms.",
    ),
    "es-ES": (
        "En 1976 había 25 casas y 10.000 árboles.",
        "En mil novecientos setenta y seis había veinticinco casas y diez mil árboles.",
    ),
    "es-US": (
        "En 1976 había 25 casas y 10,000 árboles.",
        "En mil novecientos setenta y seis había veinticinco casas y diez mil árboles.",
    ),
    "et-EE": (
        "Külas on 25 maja ja 1976 inimest.",
        "Külas on kakskümmend viis maja ja üks tuhat üheksasada seitsekümmend kuus inimest.",
    ),
    "fi-FI": (
        "Kylässä on 25 taloa ja 300 asukasta.",
        "Kylässä on kaksikymmentäviisi taloa ja kolmesataa asukasta.",
    ),
    "fr-CA": (
        "En 1976, il y avait 25 maisons et 10\u00a0000 arbres.",
        "En mille neuf cent soixante-seize, il y avait vingt-cinq maisons et dix mille arbres.",
    ),
    "fr-FR": (
        "En 1976, il y avait 25 maisons et 10\u202f000 arbres.",
        "En mille neuf cent soixante-seize, il y avait vingt-cinq maisons et dix mille arbres.",
    ),
    "he-IL": (
        "בשנת 1976 היו כאן 25 חנויות.",
        "בשנת אלף תשע מאות שבעים ושש היו כאן עשרים וחמש חנויות.",
    ),
    "hi-IN": (
        "गाँव में १९७६ लोग और 25 घर हैं, शहर में 1,00,000।",
        "गाँव में एक हज़ार नौ सौ छिहत्तर लोग और पच्चीस घर हैं, शहर में एक लाख।",
    ),
    "hr-HR": (
        "Selo ima 1976 stanovnika i 25 kuća.",
        "Selo ima tisuću devetsto sedamdeset i šest stanovnika i dvadeset i pet kuća.",
    ),
    "hu-HU": (
        "A faluban 1976 ember és 25 ház van, a városban 2500.",
        "A faluban ezerkilencszázhetvenhat ember és huszonöt ház van, a városban kétezer-ötszáz.",
    ),
    "it-IT": (
        "Nel 1976 c'erano 25 case.",
        "Nel millenovecentosettantasei c'erano venticinque case.",
    ),
    "ja-JP": ("1976年に25軒の家があった。", "千九百七十六年に二十五軒の家があった。"),
    "ko-KR": ("1976년에 집이 25 채 있었다.", "천구백칠십육년에 집이 이십오 채 있었다."),
    "lt-LT": (
        "Kaime gyvena 1976 žmonės, yra 25 namai.",
        "Kaime gyvena tūkstantis devyni šimtai septyniasdešimt šeši žmonės, yra dvidešimt penki namai.",
    ),
    "lv-LV": (
        "Ciemā ir 1976 cilvēki un 25 nami.",
        "Ciemā ir tūkstotis deviņi simti septiņdesmit seši cilvēki un divdesmit pieci nami.",
    ),
    "mt-MT": (
        "Fir-raħal hemm 25 dar u 100 siġra.",
        "Fir-raħal hemm ħamsa u għoxrin dar u mija siġra.",
    ),
    "nb-NO": ("I 1976 var det 25 hus.", "I nittenhundre og syttiseks var det tjuefem hus."),
    "nl-NL": (
        "In het dorp staan 25 huizen en 3.000 bomen.",
        "In het dorp staan vijfentwintig huizen en drieduizend bomen.",
    ),
    "nn-NO": ("I 1976 var det 25 hus.", "I nittenhundre og syttiseks var det tjuefem hus."),
    "pl-PL": (
        "We wsi jest 1976 osób i 25 domów.",
        "We wsi jest tysiąc dziewięćset siedemdziesiąt sześć osób i dwadzieścia pięć domów.",
    ),
    "pt-BR": (
        "Em 1976 havia 25 casas e 10.000 árvores.",
        "Em mil novecentos e setenta e seis havia vinte e cinco casas e dez mil árvores.",
    ),
    "pt-PT": (
        "Em 1976 havia 25 casas e 10 000 árvores.",
        "Em mil novecentos e setenta e seis havia vinte e cinco casas e dez mil árvores.",
    ),
    "ro-RO": (
        "Satul are 1976 de locuitori și 25 de case.",
        "Satul are o mie nouă sute șaptezeci și șase de locuitori și douăzeci și cinci de case.",
    ),
    "ru-RU": (
        "В деревне 1976 жителей и 25 домов.",
        "В деревне одна тысяча девятьсот семьдесят шесть жителей и двадцать пять домов.",
    ),
    "sk-SK": (
        "V dedine je 25 domov a 300 ľudí.",
        "V dedine je dvadsaťpäť domov a tristo ľudí.",
    ),
    "sl-SI": (
        "V vasi je 1976 ljudi in 25 hiš.",
        "V vasi je tisoč devetsto šestinsedemdeset ljudi in petindvajset hiš.",
    ),
    "sv-SE": ("År 1976 fanns här 25 hus.", "År nittonhundrasjuttiosex fanns här tjugofem hus."),
    "th-TH": ("ในปี ๑๙๗๖ มีบ้าน 25 หลัง", "ในปีหนึ่งพันเก้าร้อยเจ็ดสิบหกมีบ้านยี่สิบห้าหลัง"),
    "tr-TR": (
        "Köyde 1976 kişi ve 25 ev var.",
        "Köyde bin dokuz yüz yetmiş altı kişi ve yirmi beş ev var.",
    ),
    "uk-UA": (
        "У селі 1950 мешканців і 25 будинків.",
        "У селі одна тисяча дев'ятсот п'ятдесят мешканців і двадцять п'ять будинків.",
    ),
    "vi-VN": (
        "Làng có 1976 người và 25 ngôi nhà.",
        "Làng có một nghìn chín trăm bảy mươi sáu người và hai mươi lăm ngôi nhà.",
    ),
    "zh-CN": ("1976年这里有25栋房子，1万人。", "一九七六年这里有二十五栋房子，一万人。"),
}

GERMAN, FRENCH, CZECH = (policy_of(tag).numbers for tag in ("de-DE", "fr-FR", "cs-CZ"))


def canonical(text: str, locale: str) -> str:
    seen = view_text(text, locale=locale, view="number_canonical")
    return "".join(seen.split()) if LOCALES[locale].unit == "cer" else seen


def test_there_is_a_sentence_for_every_locale() -> None:
    assert SENTENCES.keys() == LOCALES.keys()


@pytest.mark.parametrize("locale", sorted(SENTENCES))
def test_digits_equal_their_words(locale: str) -> None:
    digits, words = SENTENCES[locale]
    assert canonical(digits, locale) == canonical(words, locale)
    if policy_of(locale).method == "unicode":
        # The headline view keeps them apart: what a model writes is not what was in the reference.
        assert normalise(digits, locale=locale) != normalise(words, locale=locale)


@pytest.mark.parametrize("locale", sorted(tag for tag in POLICIES if POLICIES[tag].numbers))
def test_every_number_up_to_a_million_has_words_without_digits(locale: str) -> None:
    for number in (0, 1, 9, 10, 11, 20, 70, 71, 99, 100, 101, 999, 1000, 1100, 2000, 12_345, 999_999):
        words = view_text(str(number), locale=locale, view="number_canonical")
        assert words
        assert not any(character.isdigit() for character in words)


@pytest.mark.parametrize(
    "text",
    ["2,5 Liter", "um 15:30 Uhr", "am 24.12.1999", "3D", "A4", "007", "1234567890123", "der 3. Mai", "½"],
)
def test_what_may_be_read_in_several_ways_is_left_alone(text: str) -> None:
    assert GERMAN is not None
    assert spell_numbers(text, numbers=GERMAN) == text


def test_a_full_stop_is_no_decimal_and_no_ordinal() -> None:
    assert GERMAN is not None
    assert CZECH is not None
    assert spell_numbers("Es waren 25.", numbers=GERMAN) == "Es waren fünfundzwanzig."
    assert spell_numbers("v roce 2000. Pak", numbers=CZECH) == "v roce dva tisíce. Pak"


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u2007", "\u2009", "\u202f"])
def test_grouped_digits_are_one_number(blank: str) -> None:
    assert FRENCH is not None
    assert spell_numbers(f"10{blank}000 arbres", numbers=FRENCH) == "dix mille arbres"
    assert spell_numbers("10.000 arbres", numbers=FRENCH) == "dix mille arbres"
    # Other groups are two numbers.
    assert spell_numbers("10 25", numbers=FRENCH) == "dix vingt-cinq"


def test_years_are_read_as_years_where_a_language_does() -> None:
    assert GERMAN is not None
    assert spell_numbers("1976", numbers=GERMAN) == "neunzehnhundertsechsundsiebzig"
    assert spell_numbers("1.976", numbers=GERMAN) == "eintausendneunhundertsechsundsiebzig"
    chinese = policy_of("zh-CN").numbers
    assert chinese is not None
    assert spell_numbers("1976年 1976人", numbers=chinese) == "一九七六年 一千九百七十六人"


def test_fixes_of_a_library_are_applied() -> None:
    arabic = policy_of("ar-AR").numbers
    assert arabic == NumberWords(library="num2words", language="ar", point=True, fixes=((" و ", " و"),))
    assert spell_numbers("21", numbers=arabic) == "واحد وعشرون"


@pytest.mark.parametrize(
    ("locale", "written", "joined"),
    [
        ("de-DE", "10.000, 1.000.000 und 3.5", "10000, 1000000 und 3.5"),
        ("fr-FR", "10\u202f000 et 10 000", "10000 et 10 000"),
        ("hi-IN", "12,34,567 और 1,234", "1234567 और 1234"),
        ("ja-JP", "1,000円と3,14", "1000円と3,14"),
    ],
)
def test_marks_that_group_digits_go_and_others_stay(locale: str, written: str, joined: str) -> None:
    numbers = policy_of(locale).numbers
    assert numbers is not None
    assert join_digits(written, numbers=numbers) == joined
    assert normalise(written, locale=locale) == normalise(joined, locale=locale)
