"""espeak-ng through ctypes: text to samples, the same samples for the same words every time.

The library comes as a wheel (`espeakng-loader`: shared object and voice data, no system package).
It keeps the phase of its oscillators and flutter from one utterance to the next, and seeds its
random numbers from the clock, so that what it says would depend on what it said before and when;
`pronounce` therefore speaks from a freshly loaded library with a fixed seed (about 4 ms each time).
It is not thread-safe either, hence the lock; use processes for speed.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_ray.errors import ConfigError, EnvironmentFault

ESPEAK_SAMPLE_RATE = 22_050
"""Samples per second of everything espeak-ng says."""

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_OK = 0

_RANDOM_SEED = 1

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_library_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """Who speaks, and how.

    Attributes:
        language: name of an espeak-ng voice, such as `el` or `en-us`.
        variant: voice variant, such as `m3` or `f2`: formants, breath and timbre.
        rate_wpm: words per minute, 80 to 450.
        pitch: 0 to 99, 50 being the variant's own.
        pitch_range: 0 (monotone) to 99, 50 being the variant's own.
    """

    language: str
    variant: str = "m3"
    rate_wpm: int = 160
    pitch: int = 50
    pitch_range: int = 50

    @property
    def name(self) -> str:
        """As espeak-ng spells it, `el+m3`."""
        return f"{self.language}+{self.variant}"


def pronounce(text: str, *, voice: Voice) -> npt.NDArray[np.int16]:
    """Speak `text`; int16 [N] at ESPEAK_SAMPLE_RATE, without silence added.

    Raises:
        EnvironmentFault: espeakng-loader is missing or its library does not start.
        ConfigError: espeak-ng has no such language or variant.
    """
    _check_variant(voice.variant)
    blocks: list[npt.NDArray[np.int16]] = []

    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            # The buffer is reused for the next block, so it has to be copied here.
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _SynthCallback(collect)
    with _library_lock, _fresh_library() as library:
        # Initialising seeds its random numbers from the clock; breath and flutter come from them.
        library.espeak_ng_SetRandSeed(ctypes.c_long(_RANDOM_SEED))
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.name.encode()) != _OK:
            raise ConfigError(f"espeak-ng has no voice {voice.name!r}", fix="name one of its languages")
        library.espeak_SetParameter(_RATE, voice.rate_wpm, 0)
        library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        library.espeak_SetParameter(_RANGE, voice.pitch_range, 0)
        _speak(library, text)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


@cache
def espeak_version() -> str:
    """Version of the library, such as `1.52.0`."""
    with _library_lock, _fresh_library() as library:
        library.espeak_Info.restype = ctypes.c_char_p
        version: bytes = library.espeak_Info(None)
    return version.decode()


@cache
def variants() -> frozenset[str]:
    """Names of the voice variants that come with the data."""
    _, data = _paths()
    return frozenset(path.name for path in (data / "voices" / "!v").iterdir())


def _check_variant(variant: str) -> None:
    # espeak-ng accepts any name after the "+" and falls back to the plain voice without a word.
    if variant not in variants():
        raise ConfigError(
            f"espeak-ng has no voice variant {variant!r}", fix=f"choose among {', '.join(sorted(variants()))}"
        )


def _speak(library: ctypes.CDLL, text: str) -> None:
    encoded = text.encode()
    status = library.espeak_Synth(
        encoded, ctypes.c_size_t(len(encoded) + 1), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
    )
    if status != _OK:
        raise EnvironmentFault(f"espeak-ng could not say {text!r} (status {status})")


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    library_path, data = _paths()
    try:
        library = ctypes.CDLL(str(library_path))
    except OSError as error:
        raise EnvironmentFault(
            f"cannot load {library_path}: {error}", fix="reinstall espeakng-loader for this platform"
        ) from error
    try:
        rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), 0)
        if rate != ESPEAK_SAMPLE_RATE:
            raise EnvironmentFault(f"espeak-ng did not start with {data} (it answered {rate})")
        yield library
    finally:
        library.espeak_Terminate()
        # Unloading is what resets the static state; ctypes itself never unloads a library.
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


@cache
def _paths() -> tuple[Path, Path]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise EnvironmentFault(
            "synthetic speech needs espeak-ng, and the package espeakng-loader is not installed",
            fix="pip install espeakng-loader",
        ) from error
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
