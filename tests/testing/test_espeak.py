"""espeak-ng says the same samples for the same words, and each locale in its own language."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.testing import espeak
from asr_ray.testing.espeak import ESPEAK_SAMPLE_RATE, Voice, espeak_version, pronounce

GREEK = Voice(language="el", variant="f2")


def test_what_was_said_before_leaves_no_trace() -> None:
    first = pronounce("Καλημέρα, Μαρία.", voice=GREEK)
    pronounce("Turn left.", voice=Voice(language="en-us", variant="m7", rate_wpm=300, pitch=90))
    pronounce("Turn left, Peter.", voice=Voice(language="en-us"))
    assert np.array_equal(first, pronounce("Καλημέρα, Μαρία.", voice=GREEK))


def test_the_clock_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    breathy = Voice(language="el", variant="f3")
    first = pronounce("Καλημέρα, Μαρία.", voice=breathy)
    time.sleep(1.1)  # espeak-ng would seed itself from the clock, in whole seconds
    assert np.array_equal(first, pronounce("Καλημέρα, Μαρία.", voice=breathy))
    monkeypatch.setattr(espeak, "_RANDOM_SEED", 2)  # this voice does draw random numbers
    assert not np.array_equal(first, pronounce("Καλημέρα, Μαρία.", voice=breathy))


def test_another_process_says_the_same() -> None:
    code = (
        "import hashlib; from asr_ray.testing.espeak import Voice, pronounce;"
        "print(hashlib.sha256(pronounce('Καλημέρα.', voice=Voice(language='el')).tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


@pytest.mark.parametrize(("text", "language"), [("Καλημέρα, Μαρία.", "el"), ("Влакът тръгва в седем.", "bg")])
def test_a_foreign_script_is_read_and_not_spelled(text: str, language: str) -> None:
    own = pronounce(text, voice=Voice(language=language))
    spelled = pronounce(text, voice=Voice(language="en-us"))
    assert len(spelled) > 2 * len(own)
    assert 0.5 < len(own) / ESPEAK_SAMPLE_RATE < 4.0


def test_voices_differ_in_timbre_rate_and_pitch() -> None:
    text = "The train leaves at seven."
    plain = Voice(language="en-us")
    other = [
        Voice(language="en-us", variant="f1"),
        Voice(language="en-us", rate_wpm=220),
        Voice(language="en-us", pitch=80),
        Voice(language="en-us", pitch_range=90),
    ]
    spoken = [pronounce(text, voice=voice).tobytes() for voice in (plain, *other)]
    assert len(set(spoken)) == len(spoken)
    assert len(spoken[2]) < 0.85 * len(spoken[0])


def test_nothing_to_say_is_nothing() -> None:
    spoken = pronounce("", voice=GREEK)
    assert spoken.dtype == np.int16
    assert not spoken.any()


@pytest.mark.parametrize("voice", [Voice(language="el", variant="zz9"), Voice(language="zz")])
def test_an_unknown_voice_is_refused_and_not_replaced(voice: Voice) -> None:
    with pytest.raises(ConfigError, match="zz"):
        pronounce("Καλημέρα.", voice=voice)


def test_version_is_told() -> None:
    assert espeak_version()[0].isdigit()


def test_without_the_package_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._paths.cache_clear()
    with pytest.raises(EnvironmentFault, match="espeakng-loader"):
        pronounce("Καλημέρα.", voice=GREEK)
