"""Each way in which a row can be unusable has its reason, found before and behind the decoder."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.audio import encode_flac
from asr_ray.data.checks.quarantine import (
    Checked,
    check_utterance,
    limit_error,
    official_tag,
    tally,
)
from asr_ray.data.checks.text_checks import script_share
from asr_ray.errors import DataError
from asr_ray.locales import LOCALES
from asr_ray.records import Reason, Rejected, Utterance
from asr_ray.settings import CheckSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise

GOOD = Utterance(
    id="u1",
    audio=encode_flac(noise(1.0)),
    duration_s=1.0,
    text="Καλημέρα σε όλους.",
    locale="el-GR",
    source="radio",
    origin="m.jsonl:1",
)


def check(utterance: Utterance, **checks: float) -> Checked | Rejected:
    return check_utterance(utterance, checks=CheckSettings(**checks), tokenizer=FakeTokenizer())


def reason_of(utterance: Utterance, **checks: float) -> Reason | None:
    verdict = check(utterance, **checks)
    return verdict.reason if isinstance(verdict, Rejected) else None


def wav(samples: npt.NDArray[np.generic], *, sample_rate: int = 16_000, subtype: str = "FLOAT") -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, sample_rate, format="WAV", subtype=subtype)
    return target.getvalue()


def test_a_good_utterance_passes_with_what_was_measured() -> None:
    verdict = check(replace(GOOD, duration_s=1.05))

    assert isinstance(verdict, Checked)
    assert verdict.utterance == replace(GOOD, duration_s=1.0)
    assert (verdict.num_samples, verdict.num_tokens) == (16_000, len(GOOD.text))


def test_truncated_flac() -> None:
    assert reason_of(replace(GOOD, audio=GOOD.audio[: len(GOOD.audio) // 2])) is Reason.TRUNCATED


def test_a_flipped_bit_in_the_stream_is_found() -> None:
    damaged = bytearray(GOOD.audio)
    damaged[len(damaged) // 2] ^= 0x10

    assert reason_of(replace(GOOD, audio=bytes(damaged))) is Reason.TRUNCATED


@pytest.mark.parametrize("audio", [b"", b"no audio at all" * 10, GOOD.audio[:20]])
def test_what_is_no_audio_is_undecodable(audio: bytes) -> None:
    assert reason_of(replace(GOOD, audio=audio)) is Reason.UNDECODABLE


def test_hours_of_silence_in_a_small_file_are_refused_by_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(audio: bytes, **keywords: object) -> None:
        raise AssertionError("decoded before the limits were checked")

    monkeypatch.setattr("asr_ray.data.checks.quarantine.decode_stored", never)
    bomb = encode_flac(np.zeros(16_000 * 600, dtype=np.int16))

    assert len(bomb) < 100_000
    assert reason_of(replace(GOOD, audio=bomb, duration_s=600.0)) is Reason.DURATION_RANGE


@pytest.mark.parametrize("claimed_s", [1.2, 0.8, math.nan, math.inf])
def test_the_manifest_must_agree_with_the_audio(claimed_s: float) -> None:
    assert reason_of(replace(GOOD, duration_s=claimed_s)) is Reason.DURATION_MISMATCH


def test_a_wrong_rate_in_the_header_shows_in_the_duration() -> None:
    audio = wav(noise(1.0), sample_rate=8_000, subtype="PCM_16")

    assert reason_of(replace(GOOD, audio=audio)) is Reason.DURATION_MISMATCH


def test_stereo_is_refused() -> None:
    audio = wav(np.stack([noise(1.0), -noise(1.0)], axis=1), subtype="PCM_16")

    assert reason_of(replace(GOOD, audio=audio)) is Reason.WRONG_CHANNELS


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_must_be_finite(value: float) -> None:
    samples = noise(1.0) / 32768
    samples[5] = value

    assert reason_of(replace(GOOD, audio=wav(samples))) is Reason.NON_FINITE


def test_silence_with_a_transcript() -> None:
    assert reason_of(replace(GOOD, audio=encode_flac(np.zeros(16_000, np.int16)))) is Reason.SILENCE


@pytest.mark.parametrize("text", ["", " ", "...", "?!", "—", "\u200b"])
def test_a_transcript_without_letters_is_empty(text: str) -> None:
    assert reason_of(replace(GOOD, text=text)) is Reason.EMPTY_TEXT


def test_an_unknown_locale_is_met_with_the_nearest() -> None:
    verdict = check(replace(GOOD, locale="el-GE"))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.UNKNOWN_LOCALE
    assert "did you mean 'el-GR'?" in verdict.detail
    assert reason_of(replace(GOOD, locale="xx-YY")) is Reason.UNKNOWN_LOCALE
    assert reason_of(replace(GOOD, locale="auto")) is Reason.UNKNOWN_LOCALE


def test_aliases_are_counted_under_the_official_tag() -> None:
    verdict = check(replace(GOOD, locale="el"))

    assert isinstance(verdict, Checked)
    assert verdict.utterance.locale == "el-GR"
    assert all(official_tag(tag) == tag for tag in LOCALES)
    assert official_tag("sw-KE") == "sw-KE"
    assert official_tag("xx-YY") is None


def test_a_locale_that_the_model_is_given_is_known_and_counted_as_such() -> None:
    sami = replace(GOOD, text="Buorre beaivi.", locale="se-NO")
    assert reason_of(sami) is Reason.UNKNOWN_LOCALE
    checks = CheckSettings(new_locales=["se-NO"])
    verdict = check_utterance(sami, checks=checks, tokenizer=FakeTokenizer())
    assert isinstance(verdict, Checked)
    assert verdict.utterance.locale == "se-NO"
    mistyped = check_utterance(replace(sami, locale="se-NQ"), checks=checks, tokenizer=FakeTokenizer())
    assert isinstance(mistyped, Rejected)
    assert "did you mean 'se-NO'?" in mistyped.detail
    (only,) = tally(
        [rejected(locale="se-NO")], accepted={("se-NO", "radio"): 3}, new_locales=checks.new_locales
    )
    assert (only.name, only.num_rows, only.num_rejected) == ("se-NO", 4, 1)


def test_wrong_script() -> None:
    assert reason_of(replace(GOOD, text="Kalimera se olous")) is Reason.WRONG_SCRIPT
    assert reason_of(replace(GOOD, text="Το iPhone μου χάλασε")) is None
    assert reason_of(replace(GOOD, text="112")) is None


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("ja-JP", "カタカナとひらがなと漢字。ラーメン"),
        ("zh-CN", "你好，世界"),
        ("ko-KR", "안녕하세요"),
        ("th-TH", "สวัสดีครับ"),
        ("hi-IN", "नमस्ते दुनिया"),
        ("ar-AR", "مرحبا بالعالم"),
        ("he-IL", "שלום עולם"),
        ("bg-BG", "Добро утро"),
        ("vi-VN", "Xin chào các bạn"),
        ("en-US", "ＦＵＬＬ width"),
    ],
)
def test_scripts_of_the_locales(locale: str, text: str) -> None:
    assert script_share(text, locale=locale) == 1.0


def test_every_official_locale_has_a_script_that_can_be_judged() -> None:
    assert {script_share("中", locale=tag) for tag in LOCALES} == {0.0, 1.0}


def test_too_much_text_for_the_audio() -> None:
    assert reason_of(replace(GOOD, text="Καλημέρα " * 10)) is Reason.CHARACTER_RATE


def test_unknown_tokens() -> None:
    tokenizer = FakeTokenizer(alphabet="Καλημέρα")

    verdict = check_utterance(GOOD, checks=CheckSettings(), tokenizer=tokenizer)

    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.UNKNOWN_TOKENS


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000])
def test_another_sampling_rate_is_measured_as_it_will_be_resampled(sample_rate: int) -> None:
    audio = wav(noise(1.0)[:7_919], sample_rate=sample_rate, subtype="PCM_16")

    verdict = check(replace(GOOD, audio=audio, duration_s=7_919 / sample_rate), max_characters_per_s=1e3)

    assert isinstance(verdict, Checked)
    assert verdict.num_samples == round(7_919 * 16_000 / sample_rate)
    assert verdict.utterance.audio == audio


@settings(max_examples=200)
@given(place=st.integers(0, len(GOOD.audio) - 1), value=st.integers(0, 255))
def test_damage_anywhere_never_raises(place: int, value: int) -> None:
    damaged = GOOD.audio[:place] + bytes([value]) + GOOD.audio[place + 1 :]

    assert isinstance(check(replace(GOOD, audio=damaged)), Checked | Rejected)


def rejected(
    *, locale: str, reason: Reason = Reason.TRUNCATED, source: str = "radio", line: int = 1
) -> Rejected:
    return Rejected(
        origin=f"m.jsonl:{line}", reason=reason, detail="half a file", locale=locale, source=source
    )


def error_of(
    rows: list[Rejected], accepted: dict[tuple[str, str], int], share: float = 0.01
) -> DataError | None:
    checks = CheckSettings(max_rejected_share=share)
    return limit_error(
        tally(rows, accepted=accepted), checks=checks, quarantine=Path("out/quarantine.parquet")
    )


def test_the_limit_holds_per_locale() -> None:
    accepted = {("el-GR", "radio"): 99, ("bg-BG", "radio"): 10_000}

    assert error_of([rejected(locale="el-GR")], accepted) is None
    assert error_of([rejected(locale="bg-BG")] * 100, accepted) is None
    assert error_of([rejected(locale="el-GR")] * 2, accepted) is not None


def test_aliases_and_sources_of_a_locale_count_together() -> None:
    accepted = {("el-GR", "radio"): 50, ("el-GR", "books"): 49}

    (el,) = tally([rejected(locale="el"), rejected(locale="el-GR", source="books")], accepted=accepted)

    assert (el.name, el.num_accepted, el.num_rows, el.num_rejected) == ("el-GR", 99, 101, 2)


def test_rows_without_a_locale_count_against_their_source() -> None:
    accepted = {("el-GR", "radio"): 60, ("bg-BG", "radio"): 38, ("el-GR", "books"): 1_000}
    rows = [
        rejected(locale="xx-YY", reason=Reason.UNKNOWN_LOCALE),
        rejected(locale="", reason=Reason.BAD_JSON),
    ]

    *_, unknown = tally(rows, accepted=accepted)

    assert (unknown.name, unknown.num_rows, unknown.num_rejected) == ("no known locale in radio", 100, 2)
    assert error_of(rows, accepted, share=0.03) is None
    assert error_of(rows, accepted, share=0.01) is not None


def test_the_error_says_what_where_why_and_what_to_do() -> None:
    rows = [rejected(locale="el-GR", line=line) for line in range(1, 6)]
    rows.append(rejected(locale="el-GR", reason=Reason.EMPTY_TEXT, line=9))

    message = str(error_of(rows, {("el-GR", "radio"): 94, ("bg-BG", "radio"): 94}))

    assert "el-GR: 6 of 100 rows rejected (6.0%): truncated 5, empty-text 1" in message
    assert "m.jsonl:3  truncated: half a file" in message
    assert "m.jsonl:4" not in message
    assert "bg-BG" not in message
    assert "out/quarantine.parquet" in message
    assert "fix: " in message


def test_nothing_left_is_an_error_whatever_the_limit() -> None:
    assert "no row of the corpora can be used" in str(error_of([rejected(locale="el-GR")], {}, share=1.0))
    assert error_of([], {}, share=1.0) is not None
