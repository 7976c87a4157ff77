"""The 40 locales of Nemotron 3.5 ASR, and the language-prompt slots of the released checkpoint.

Tiers follow the model card; slots follow the prompt dictionary shipped with the model (a test compares
them with the copy in `transformers`). A checkpoint's own dictionary always wins over this table: it is
the default for new models and what messages and checks speak of before a checkpoint is open.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from asr_ray.errors import ConfigError

Tier = Literal["ready", "broad", "adaptation"]
"""Model card tiers: transcription-ready, broad-coverage, adaptation-ready."""

Unit = Literal["wer", "cer"]
"""What an error rate counts: words, or characters where blanks do not separate words reliably."""

PromptMode = Literal["langID", "auto", "unified"]
"""How an utterance names its language to the model; the spelling of NeMo's manifests."""


@dataclass(frozen=True, slots=True)
class Locale:
    """One official locale.

    Attributes:
        tag: BCP-47 language and region, `el-GR`.
        slot: index in the one-hot prompt of the released checkpoint.
        unit: WER, or CER for Japanese, Korean, Chinese (model card) and Thai (no blanks between words).
        script: Unicode script of its orthography; "Japanese" stands for kanji and both kana.
    """

    tag: str
    tier: Tier = field(kw_only=True)
    slot: int = field(kw_only=True)
    unit: Unit = field(kw_only=True)
    script: str = field(kw_only=True)


_OFFICIAL = (
    Locale("en-US", tier="ready", slot=0, unit="wer", script="Latin"),
    Locale("en-GB", tier="ready", slot=1, unit="wer", script="Latin"),
    Locale("es-ES", tier="ready", slot=2, unit="wer", script="Latin"),
    Locale("es-US", tier="ready", slot=3, unit="wer", script="Latin"),
    Locale("hi-IN", tier="ready", slot=6, unit="wer", script="Devanagari"),
    Locale("ar-AR", tier="ready", slot=7, unit="wer", script="Arabic"),
    Locale("fr-FR", tier="ready", slot=8, unit="wer", script="Latin"),
    Locale("de-DE", tier="ready", slot=9, unit="wer", script="Latin"),
    Locale("ja-JP", tier="ready", slot=10, unit="cer", script="Japanese"),
    Locale("ru-RU", tier="ready", slot=11, unit="wer", script="Cyrillic"),
    Locale("pt-BR", tier="ready", slot=12, unit="wer", script="Latin"),
    Locale("pt-PT", tier="ready", slot=13, unit="wer", script="Latin"),
    Locale("ko-KR", tier="ready", slot=14, unit="cer", script="Hangul"),
    Locale("it-IT", tier="ready", slot=15, unit="wer", script="Latin"),
    Locale("nl-NL", tier="ready", slot=16, unit="wer", script="Latin"),
    Locale("tr-TR", tier="ready", slot=18, unit="wer", script="Latin"),
    Locale("uk-UA", tier="ready", slot=19, unit="wer", script="Cyrillic"),
    Locale("vi-VN", tier="ready", slot=33, unit="wer", script="Latin"),
    Locale("fr-CA", tier="ready", slot=100, unit="wer", script="Latin"),
    Locale("zh-CN", tier="broad", slot=4, unit="cer", script="Han"),
    Locale("pl-PL", tier="broad", slot=17, unit="wer", script="Latin"),
    Locale("ro-RO", tier="broad", slot=20, unit="wer", script="Latin"),
    Locale("cs-CZ", tier="broad", slot=22, unit="wer", script="Latin"),
    Locale("hu-HU", tier="broad", slot=23, unit="wer", script="Latin"),
    Locale("sv-SE", tier="broad", slot=24, unit="wer", script="Latin"),
    Locale("da-DK", tier="broad", slot=25, unit="wer", script="Latin"),
    Locale("fi-FI", tier="broad", slot=26, unit="wer", script="Latin"),
    Locale("sk-SK", tier="broad", slot=28, unit="wer", script="Latin"),
    Locale("hr-HR", tier="broad", slot=29, unit="wer", script="Latin"),
    Locale("bg-BG", tier="broad", slot=30, unit="wer", script="Cyrillic"),
    Locale("et-EE", tier="broad", slot=60, unit="wer", script="Latin"),
    Locale("nb-NO", tier="broad", slot=103, unit="wer", script="Latin"),
    Locale("el-GR", tier="adaptation", slot=21, unit="wer", script="Greek"),
    Locale("lt-LT", tier="adaptation", slot=31, unit="wer", script="Latin"),
    Locale("th-TH", tier="adaptation", slot=32, unit="cer", script="Thai"),
    Locale("lv-LV", tier="adaptation", slot=61, unit="wer", script="Latin"),
    Locale("sl-SI", tier="adaptation", slot=62, unit="wer", script="Latin"),
    Locale("he-IL", tier="adaptation", slot=64, unit="wer", script="Hebrew"),
    Locale("mt-MT", tier="adaptation", slot=102, unit="wer", script="Latin"),
    Locale("nn-NO", tier="adaptation", slot=104, unit="wer", script="Latin"),
)

LOCALES: dict[str, Locale] = {locale.tag: locale for locale in _OFFICIAL}
"""Tag -> locale, ready tier first."""

# One entry per slot: `slot key=alias=alias;`. Bare aliases are the checkpoint's choice: `es` is es-US,
# `pt` is pt-PT, `no` is a slot of its own.
_SLOT_TABLE = """
    0 en-US=en; 1 en-GB=enGB; 2 es-ES=esES; 3 es-US=es; 4 zh-CN=zh-ZH; 5 zh-TW; 6 hi-IN=hi=hi-HI;
    7 ar-AR=ar; 8 fr-FR=fr; 9 de-DE=de; 10 ja-JP=ja-JA; 11 ru-RU=ru; 12 pt-BR; 13 pt-PT=pt;
    14 ko-KR=ko=ko-KO; 15 it-IT=it; 16 nl-NL=nl; 17 pl-PL=pl; 18 tr-TR=tr; 19 uk-UA=uk; 20 ro-RO=ro;
    21 el-GR=el; 22 cs-CZ=cs; 23 hu-HU=hu; 24 sv-SE=sv; 25 da-DK=da; 26 fi-FI=fi; 27 no-NO=no;
    28 sk-SK=sk; 29 hr-HR=hr; 30 bg-BG=bg; 31 lt-LT=lt; 32 th-TH; 33 vi-VN; 34 id-ID; 35 ms-MY;
    36 bn-IN; 37 ur-PK; 38 fa-IR; 39 ta-IN; 40 te-IN; 41 mr-IN; 42 gu-IN; 43 kn-IN; 44 ml-IN; 45 si-LK;
    46 ne-NP; 47 km-KH; 48 sw-KE; 49 am-ET; 50 ha-NG; 51 zu-ZA; 52 yo-NG; 53 ig-NG; 54 af-ZA; 55 rw-RW;
    56 so-SO; 57 ny-MW; 58 ln-CD; 59 or-KE; 60 et-EE=et; 61 lv-LV=lv; 62 sl-SI=sl; 64 he-IL; 65 ku-TR;
    66 az-AZ; 67 ka-GE; 68 hy-AM; 69 uz-UZ; 70 tg-TJ; 71 ky-KG; 80 qu-PE; 81 ay-BO; 82 gn-PY; 83 nah-MX;
    96 mi-NZ; 97 haw-US; 98 sm-WS; 99 to-TO; 100 fr-CA; 101 auto; 102 mt-MT; 103 nb-NO=nb; 104 nn-NO=nn;
"""


def _read_slots(table: str) -> dict[str, int]:
    entries = (entry.split() for entry in table.replace("\n", " ").split(";") if entry.strip())
    return {key: int(slot) for slot, keys in entries for key in keys.split("=")}


DEFAULT_PROMPT_SLOTS: dict[str, int] = _read_slots(_SLOT_TABLE)
"""Every key of the released checkpoint's prompt dictionary, aliases and `auto` included."""

NUM_PROMPT_SLOTS = 128
"""Width of the one-hot prompt in the released checkpoint."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name closest to `name` in spelling, or "" when none is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else ""


def unit_of(tag: str) -> Unit:
    """Return the unit a locale is scored in; outside the official 40 its language decides."""
    language = tag.partition("-")[0]
    return (
        "cer"
        if any(each.unit == "cer" for each in _OFFICIAL if each.tag.startswith(f"{language}-"))
        else "wer"
    )


def check_locale(tag: str, *, known: Iterable[str], where: str) -> str:
    """Return `tag` if it is in `known`.

    Raises:
        ConfigError: it is not; the message names `where` it stood and the nearest known tag.
    """
    names = list(known)
    if tag in names:
        return tag
    guess = nearest(tag, names)
    raise ConfigError(
        f"{where}: unknown locale {tag!r}",
        fix=f"did you mean {guess!r}?" if guess else f"use one of {', '.join(sorted(names))}",
    )
