"""Every kind of bad input, written to disk as a corpus has it, ends as one row with its reason.

The table below is the list; the damage goes through the reader and the checks together.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from asr_ray.data.audio import encode_flac
from asr_ray.data.checks.quarantine import Checked, check_utterance
from asr_ray.data.corpus import nemo_manifest
from asr_ray.records import Reason, Rejected
from asr_ray.settings import CheckSettings, CorpusSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise

SAMPLES = noise(1.0)
FLAC = encode_flac(SAMPLES)
FIELDS: Mapping[str, object] = {
    "audio_filepath": "a.flac",
    "duration": 1.0,
    "text": "Καλημέρα σε όλους.",
    "target_lang": "el-GR",
}
KNOWN = "Καλημέρα σε όλους.ΚΑΛΗΜΡñ0123 "


def wav(samples: npt.NDArray[np.generic], *, sample_rate: int = 16_000, subtype: str = "FLOAT") -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, sample_rate, format="WAV", subtype=subtype)
    return target.getvalue()


def damaged(place: int) -> bytes:
    """One bit of the FLAC file flipped."""
    return FLAC[:place] + bytes([FLAC[place] ^ 0x10]) + FLAC[place + 1 :]


def with_samples_announced(count: int) -> bytes:
    """The FLAC file with another number of samples in its header (the low 32 of 36 bits)."""
    return FLAC[:22] + count.to_bytes(4, "big") + FLAC[26:]


def poked(value: float) -> npt.NDArray[np.float64]:
    samples = SAMPLES / 32768
    samples[7] = value
    return samples


def line(**changes: object) -> bytes:
    fields = {key: value for key, value in {**FIELDS, **changes}.items() if value is not None}
    return json.dumps(fields, ensure_ascii=False).encode()


AUDIO: dict[str, tuple[bytes, dict[str, object], Reason]] = {
    "truncated FLAC": (FLAC[: len(FLAC) // 2], {}, Reason.TRUNCATED),
    "bit flip in a FLAC frame": (damaged(len(FLAC) // 2), {}, Reason.TRUNCATED),
    "bit flip in the checksum of a FLAC": (damaged(30), {}, Reason.AUDIO_CHECKSUM),
    "end of a FLAC cut off by its header": (with_samples_announced(15_000), {}, Reason.AUDIO_CHECKSUM),
    "zero bytes": (b"", {}, Reason.UNDECODABLE),
    "text file as audio": (b"no audio at all\n" * 100, {}, Reason.UNDECODABLE),
    "empty WAV": (wav(np.zeros(0, np.int16), subtype="PCM_16"), {}, Reason.DURATION_RANGE),
    "FLAC bomb": (encode_flac(np.zeros(16_000 * 600, np.int16)), {"duration": 600.0}, Reason.DURATION_RANGE),
    "NaN sample": (wav(poked(np.nan)), {}, Reason.NON_FINITE),
    "infinite sample": (wav(poked(np.inf)), {}, Reason.NON_FINITE),
    "digital silence": (encode_flac(np.zeros(16_000, np.int16)), {}, Reason.SILENCE),
    "stereo": (encode_flac(np.stack([SAMPLES, -SAMPLES], axis=1)), {}, Reason.WRONG_CHANNELS),
    "manifest longer than the file": (FLAC, {"duration": 1.2}, Reason.DURATION_MISMATCH),
    "manifest shorter than the file": (FLAC, {"duration": 0.8}, Reason.DURATION_MISMATCH),
    "8 kHz file labelled 16 kHz": (
        encode_flac(SAMPLES, sample_rate=8_000),
        {"duration": 2.0, "sampling_rate": 16_000},
        Reason.SAMPLING_RATE_MISMATCH,
    ),
    "rate under its other name": (FLAC, {"sample_rate": 8_000}, Reason.SAMPLING_RATE_MISMATCH),
    "too many characters": (FLAC, {"text": "Καλημέρα " * 10}, Reason.CHARACTER_RATE),
    "too few characters": (
        encode_flac(noise(20.0)),
        {"duration": 20.0, "text": "Καλημέρα."},
        Reason.CHARACTER_RATE,
    ),
}
"""Name -> (content of the audio file, changed fields, reason)."""

LINES: dict[str, tuple[bytes, Reason]] = {
    "missing file": (line(audio_filepath="absent.flac"), Reason.MISSING_AUDIO),
    "latin-1": (line(text="déjà vu").decode().encode("latin-1"), Reason.BAD_ENCODING),
    "byte order mark in the middle": (b"\xef\xbb\xbf" + line(), Reason.BAD_JSON),
    "truncated line": (line()[:-9], Reason.BAD_JSON),
    "blank line": (b"", Reason.BAD_JSON),
    "NaN duration": (line(duration=float("nan")), Reason.DURATION_MISMATCH),
    "infinite duration": (line(duration=float("inf")), Reason.DURATION_MISMATCH),
    "no duration": (line(duration=None), Reason.MISSING_FIELD),
    "no text": (line(text=None), Reason.MISSING_FIELD),
    "unknown locale": (line(target_lang="el-GE"), Reason.UNKNOWN_LOCALE),
    "empty text": (line(text=""), Reason.EMPTY_TEXT),
    "only punctuation": (line(text="... ?!"), Reason.EMPTY_TEXT),
    "wrong script": (line(text="Kalimera se olous"), Reason.WRONG_SCRIPT),
    "control character": (line(text="Καλημέρα\x07 σε όλους."), Reason.CONTROL_CHARACTERS),
    "UTF-8 read as latin-1": (
        line(text="Καλημέρα".encode().decode("latin-1")),
        Reason.MOJIBAKE,
    ),
    "replacement character": (line(text="Καλημ\ufffdρα"), Reason.MOJIBAKE),
    "letters the tokenizer does not know": (line(text="Ξέφωτο, ψυχή, βιβλίο"), Reason.UNKNOWN_TOKENS),
}
"""Name -> (line of the manifest, reason)."""


def verdict_on(folder: Path, content: bytes) -> Checked | Rejected:
    """Read the second line of a manifest whose first is good, and check it."""
    manifest = folder / "m.jsonl"
    manifest.write_bytes(line(audio_filepath="good.flac") + b"\n" + content + b"\n")
    corpus = CorpusSettings(path=str(manifest), source="radio")
    (span,) = nemo_manifest.split(str(manifest), rows_per_span=10)
    first, second = (row.content for row in nemo_manifest.read(span, corpus=corpus))
    tokenizer = FakeTokenizer(alphabet=KNOWN)
    assert not isinstance(first, Rejected)
    assert isinstance(check_utterance(first, checks=CheckSettings(), tokenizer=tokenizer), Checked)
    if isinstance(second, Rejected):
        return second
    return check_utterance(second, checks=CheckSettings(), tokenizer=tokenizer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.flac", "good.flac"):
        (tmp_path / name).write_bytes(FLAC)
    return tmp_path


@pytest.mark.parametrize("name", AUDIO)
def test_bad_audio_has_its_reason(name: str, folder: Path) -> None:
    content, changes, reason = AUDIO[name]
    (folder / "a.flac").write_bytes(content)

    verdict = verdict_on(folder, line(**changes))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.origin) == (reason, f"{folder / 'm.jsonl'}:2")
    assert verdict.detail


@pytest.mark.parametrize("name", LINES)
def test_bad_lines_have_their_reason(name: str, folder: Path) -> None:
    content, reason = LINES[name]

    verdict = verdict_on(folder, content)

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.origin) == (reason, f"{folder / 'm.jsonl'}:2")
    assert verdict.detail


def test_every_reason_of_a_single_row_is_in_the_tables() -> None:
    other_formats = {Reason.UNSAFE_SOURCE}
    of_many_rows = {
        Reason.DUPLICATE_ID,
        Reason.DUPLICATE_AUDIO,
        Reason.IN_HELD_OUT_AUDIO,
        Reason.IN_HELD_OUT_TEXT,
    }
    covered = {reason for _, _, reason in AUDIO.values()} | {reason for _, reason in LINES.values()}
    assert covered == set(Reason) - of_many_rows - other_formats


GOOD: dict[str, tuple[Callable[[], bytes], dict[str, object]]] = {
    "as it shall be": (lambda: FLAC, {}),
    "duration within tolerance": (lambda: FLAC, {"duration": 1.09}),
    "rate as the header has it": (lambda: FLAC, {"sampling_rate": 16_000, "sample_rate": 16_000}),
    "rate that is no number": (lambda: FLAC, {"sampling_rate": "16k"}),
    "FLAC without a checksum": (lambda: FLAC[:26] + bytes(16) + FLAC[42:], {}),
    "one word in a long recording": (lambda: encode_flac(noise(5.5)), {"duration": 5.5, "text": "Α"}),
    "loudest negative sample": (lambda: encode_flac(np.full(16_000, -32768, np.int16)), {}),
    "float samples": (lambda: wav(SAMPLES / 32768), {}),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_unusual_but_right_passes(name: str, folder: Path) -> None:
    content, changes = GOOD[name]
    (folder / "a.flac").write_bytes(content())

    assert isinstance(verdict_on(folder, line(**changes)), Checked)


def test_a_byte_order_mark_at_the_start_of_a_manifest_is_no_fault(folder: Path) -> None:
    manifest = folder / "m.jsonl"
    manifest.write_bytes(b"\xef\xbb\xbf" + line() + b"\n")
    (span,) = nemo_manifest.split(str(manifest), rows_per_span=10)

    (row,) = nemo_manifest.read(span, corpus=CorpusSettings(path=str(manifest), source="radio"))

    assert not isinstance(row.content, Rejected)


def test_no_flipped_bit_goes_unnoticed_or_changes_what_is_heard(folder: Path) -> None:
    expected = hashlib.sha256(SAMPLES.tobytes()).digest()
    places = np.random.default_rng(0).integers(42, len(FLAC), size=100)
    for place in places.tolist():
        (folder / "a.flac").write_bytes(damaged(place))
        verdict = verdict_on(folder, line())
        if isinstance(verdict, Checked):
            heard, _ = soundfile.read(io.BytesIO(verdict.utterance.audio), dtype="int16")
            assert hashlib.sha256(heard.tobytes()).digest() == expected
