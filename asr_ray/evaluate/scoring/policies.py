"""What sets the 40 locales apart when their transcripts are compared: a table of rules, no code.

`normalise.py` applies a policy, `docs/normalisers.md` shows all of them. A rule forgives a
difference between writers (two ways to type a letter, a mark that readers leave out), never a difference
between utterances. What a policy does not mention is an error when it differs: accents, vowel signs,
hyphenless compounds, spelling reforms.

A changed rule changes scores: raise `NORMALISER_VERSION`, which is written beside every result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from asr_ray.locales import LOCALES

NORMALISER_VERSION = "2"

Method = Literal["unicode", "whisper-english"]
"""Character by character after Unicode categories, or the English normaliser of published leaderboards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way in which writers differ.

    Attributes:
        name, why: for the documentation.
        characters: single characters -> replacement, before lower-casing; keys of both cases where needed.
        patterns: (regular expression, replacement) on the lower-case text, in their order.
        forgives: False for what only reads the script right, such as its capitals.
    """

    name: str
    why: str
    characters: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[tuple[str, str], ...] = ()
    forgives: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberWords:
    """How whole numbers are spelled out; cardinal, in the form used for counting.

    Attributes:
        library: CLDR spell-out rules (unicode-rbnf) or num2words, whichever is right for the language.
        language: as the library calls it.
        rules: name of the CLDR rule set.
        year_rules: CLDR rule set for years; "" where years are read like other numbers.
        year_word: what must follow for a number to be a year; "" takes 1100 to 1999, which languages with
            a reading of their own read in hundreds, years or not.
        point: True where a comma groups digits and a point stands before decimals, False the other way.
        ordinal_point: whether a point makes an ordinal ("3. Mai"), which is left alone.
        fixes: (wrong, right) in what the library writes.
    """

    library: Literal["cldr", "num2words"] = "cldr"
    language: str
    rules: str = "spellout-numbering"
    year_rules: str = ""
    year_word: str = ""
    point: bool = False
    ordinal_point: bool = False
    fixes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # hashed by identity, for the caches
class Policy:
    """How transcripts of one locale are compared.

    Attributes:
        locale: BCP-47 tag; "" for the policy of languages without one.
        keeps_marks: False drops combining marks, for scripts whose marks are optional.
        joins_quotes: quotes inside words are dropped, not turned into blanks (Hebrew acronyms).
        has_case: whether the script knows capitals, and case errors mean something.
        numbers: None where whole numbers cannot be spelled out reliably; the English method reads number
            words as digits by itself.
        caveat: what is not forgiven although writers differ, for the documentation.
    """

    locale: str
    method: Method = "unicode"
    rules: tuple[Rule, ...] = ()
    keeps_marks: bool = True
    joins_quotes: bool = False
    has_case: bool = True
    numbers: NumberWords | None = None
    caveat: str = ""

    @property
    def folds(self) -> bool:
        """Whether letters or marks are forgiven that somebody may want to see judged."""
        return any(rule.forgives for rule in self.rules) or not self.keeps_marks

    def unfolded(self) -> Policy:
        """Return the policy without what it forgives."""
        rules = tuple(rule for rule in self.rules if not rule.forgives)
        return replace(self, rules=rules, keeps_marks=True, joins_quotes=False)


def _both_cases(pairs: Mapping[str, str]) -> dict[str, str]:
    return {**pairs, **{key.upper(): value.upper() for key, value in pairs.items()}}


ALEF = Rule(
    name="alef, yeh, kaf",
    why="hamza on alef and dots under final yeh are left out as often as written; Persian keyboards have "
    "other code points for yeh and kaf; tatweel only stretches a word",
    characters={"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ک": "ك", "ـ": ""},
)
DOTLESS_I = Rule(
    name="dotted and dotless i",
    why="the capital of ı is I, that of i is İ; lower-casing for other languages merges or splits them",
    characters={"I": "ı", "İ": "i"},
    forgives=False,
)
COMMA_BELOW = Rule(
    name="comma below",
    why="ş and ţ with a cedilla stand in for ș and ț on older keyboards",
    characters=_both_cases({"ş": "ș", "ţ": "ț"}),
)
YO = Rule(name="yo", why="the dots of ё are optional in print", characters=_both_cases({"ё": "е"}))
FRENCH_LIGATURES = Rule(
    name="ligatures",
    why="œ and æ have no key of their own on French keyboards",
    characters={"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE"},
)
ELISION = Rule(
    name="elision",
    why="no blank belongs after an elided word, yet corpora split there",
    patterns=((r"\b([cdjlmnst]|qu|jusqu|lorsqu|puisqu|quelqu|quoiqu)' +(?=\w)", r"\1'"),),
)
THAI_ORDER = Rule(
    name="typing order",
    why="a tone mark typed after the ring of sara am, or sara e typed twice for sara ae, looks the same",
    patterns=(("\u0e4d([\u0e48-\u0e4b])\u0e32", "\\1\u0e4d\u0e32"), ("\u0e40\u0e40", "\u0e41")),
)
VISARGA = Rule(
    name="visarga",
    why="a colon right after a Devanagari letter and before another is a visarga typed on a Latin keyboard",
    patterns=(("(?<=[\u0900-\u0963]):(?=[\u0900-\u0963])", "\u0903"),),
)


def _tone_places() -> tuple[tuple[str, str], ...]:
    """Old style puts the tone of open oa, oe, uy on the first vowel; both styles are taught."""
    tones = {"a": "àáảãạ", "e": "èéẻẽẹ", "y": "ỳýỷỹỵ", "o": "òóỏõọ", "u": "ùúủũụ"}
    syllables = (("o", "a", ""), ("o", "e", ""), ("u", "y", "(?<!q)"))
    return tuple(
        (f"{before}{first}{tones[second][tone]}(?!\\w)", f"{tones[first][tone]}{second}")
        for first, second, before in syllables
        for tone in range(5)
    )


TONE_PLACE = Rule(
    name="place of the tone mark",
    why="hoà and hòa, thuỷ and thủy are the same word in two styles",
    patterns=_tone_places(),
)

_YEAR = "spellout-numbering-year"


def _cldr(language: str, *, years: bool = False, point: bool = False, ordinal: bool = False) -> NumberWords:
    return NumberWords(
        language=language, year_rules=_YEAR if years else "", point=point, ordinal_point=ordinal
    )


def _norwegian(language: str, *fixes: tuple[str, str]) -> NumberWords:
    # CLDR accents every one, as writers only do to tell it from the article.
    return NumberWords(language=language, year_rules=_YEAR, ordinal_point=True, fixes=fixes)


_WHISPER = "nothing beyond what the Whisper normaliser opens: contractions, titles, number words, US spelling"

_OFFICIAL = (
    Policy(locale="en-US", method="whisper-english", caveat=_WHISPER),
    Policy(locale="en-GB", method="whisper-english", caveat=_WHISPER),
    Policy(locale="es-ES", numbers=_cldr("es")),
    # Latin America north of Panama and the United States write 1,000.5.
    Policy(locale="es-US", numbers=_cldr("es", point=True)),
    Policy(
        locale="hi-IN",
        rules=(VISARGA,),
        has_case=False,
        numbers=_cldr("hi", point=True),
        caveat="nukta, and anusvara against the nasal letter (हिंदी, हिन्दी)",
    ),
    Policy(
        locale="ar-AR",
        rules=(ALEF,),
        keeps_marks=False,
        has_case=False,
        # num2words leaves a blank after the conjunction, which no writer does.
        numbers=NumberWords(library="num2words", language="ar", point=True, fixes=((" و ", " و"),)),
        caveat="teh marbuta against heh; hamza on waw and yeh",
    ),
    Policy(locale="fr-FR", rules=(ELISION, FRENCH_LIGATURES), numbers=_cldr("fr")),
    Policy(locale="de-DE", numbers=_cldr("de", years=True, ordinal=True), caveat="ß against ss"),
    Policy(
        locale="ja-JP",
        has_case=False,
        numbers=_cldr("ja", point=True),
        caveat="kanji against kana for the same word",
    ),
    Policy(locale="ru-RU", rules=(YO,), numbers=_cldr("ru")),
    Policy(locale="pt-BR", numbers=_cldr("pt")),
    Policy(locale="pt-PT", numbers=_cldr("pt_PT"), caveat="spelling before and after the reform of 1990"),
    Policy(
        locale="ko-KR",
        has_case=False,
        numbers=_cldr("ko", point=True),
        caveat="native against Sino-Korean numerals",
    ),
    Policy(locale="it-IT", numbers=_cldr("it"), caveat="an apostrophe typed for an accent (perche')"),
    Policy(locale="nl-NL", numbers=_cldr("nl", years=True)),
    Policy(
        locale="tr-TR", rules=(DOTLESS_I,), numbers=_cldr("tr", ordinal=True), caveat="circumflex (kâr, kar)"
    ),
    Policy(locale="uk-UA", numbers=_cldr("uk")),
    Policy(
        locale="vi-VN",
        rules=(TONE_PLACE,),
        numbers=_cldr("vi"),
        caveat="i against y at the end of a syllable",
    ),
    Policy(locale="fr-CA", rules=(ELISION, FRENCH_LIGATURES), numbers=_cldr("fr")),
    Policy(
        locale="zh-CN",
        has_case=False,
        numbers=NumberWords(
            language="zh", rules="spellout-cardinal-alternate2", year_rules=_YEAR, year_word="年", point=True
        ),
        caveat="traditional against simplified characters",
    ),
    Policy(locale="pl-PL", numbers=_cldr("pl", ordinal=True)),
    Policy(locale="ro-RO", rules=(COMMA_BELOW,), numbers=_cldr("ro"), caveat="î against â inside words"),
    Policy(locale="cs-CZ", numbers=_cldr("cs", ordinal=True)),
    Policy(locale="hu-HU", numbers=NumberWords(library="num2words", language="hu", ordinal_point=True)),
    Policy(locale="sv-SE", numbers=_cldr("sv", years=True)),
    Policy(locale="da-DK", numbers=_cldr("da", years=True, ordinal=True)),
    Policy(locale="fi-FI", numbers=_cldr("fi", ordinal=True)),
    Policy(locale="sk-SK", numbers=_cldr("sk", ordinal=True)),
    Policy(locale="hr-HR", numbers=_cldr("hr", ordinal=True)),
    # The rule sets for invoices hold the written forms (двадесет), the others the spoken (двайсет).
    Policy(locale="bg-BG", numbers=NumberWords(language="bg", rules="spellout-cardinal-neuter-financial")),
    Policy(locale="et-EE", numbers=_cldr("et", ordinal=True)),
    Policy(locale="nb-NO", numbers=_norwegian("no", ("én", "en"))),
    Policy(
        locale="el-GR",
        # CLDR accents the word for thousands twice.
        numbers=NumberWords(language="el", fixes=(("χίλιάδες", "χιλιάδες"),)),
        caveat="accents, also those that capitals leave out",
    ),
    Policy(locale="lt-LT", numbers=_cldr("lt")),
    Policy(locale="th-TH", rules=(THAI_ORDER,), has_case=False, numbers=_cldr("th", point=True)),
    Policy(locale="lv-LV", numbers=NumberWords(library="num2words", language="lv", ordinal_point=True)),
    Policy(locale="sl-SI", numbers=NumberWords(library="num2words", language="sl", ordinal_point=True)),
    Policy(
        locale="he-IL",
        keeps_marks=False,
        joins_quotes=True,
        has_case=False,
        numbers=_cldr("he", point=True),
        caveat="spelling with and without vowel letters",
    ),
    Policy(locale="mt-MT", numbers=_cldr("mt", point=True)),
    Policy(locale="nn-NO", numbers=_norwegian("nn", ("éin", "ein"), ("nitten hundre", "nittenhundre"))),
)

POLICIES: dict[str, Policy] = {policy.locale: policy for policy in _OFFICIAL}
"""Tag -> policy of the 40 official locales."""

# Further languages of the prompt table that need a rule of those above.
_BY_LANGUAGE = {
    **{tag.partition("-")[0]: POLICIES[tag] for tag in reversed(LOCALES)},
    "az": Policy(locale="az-AZ", rules=(DOTLESS_I,)),
    "fa": Policy(locale="fa-IR", rules=(ALEF,), keeps_marks=False, has_case=False),
    "ur": Policy(locale="ur-PK", rules=(ALEF,), keeps_marks=False, has_case=False),
}
_DEFAULT = Policy(locale="")


def policy_of(locale: str) -> Policy:
    """Return the policy of a locale; outside the official 40 its language decides, or the default."""
    return POLICIES.get(locale) or _BY_LANGUAGE.get(locale.partition("-")[0], _DEFAULT)


def fingerprint() -> str:
    """Return 12 hexadecimal digits that change with any rule of any locale."""
    described = [
        (tag, policy.method, policy.rules, policy.keeps_marks, policy.joins_quotes, policy.numbers)
        for tag, policy in POLICIES.items()
    ]
    return hashlib.sha256(repr(described).encode()).hexdigest()[:12]
