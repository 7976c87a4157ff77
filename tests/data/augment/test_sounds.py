from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_ray.data.augment.sounds import Sounds
from asr_ray.errors import DataError
from asr_ray.records import SAMPLE_RATE
from asr_ray.testing.noise import noise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of one second: stereo at 48 kHz in a folder of its own, mono at 16 kHz."""
    (tmp_path / "b").mkdir()
    wide = np.stack([noise(3.0), noise(3.0)], axis=1)
    soundfile.write(tmp_path / "b" / "stereo.wav", wide, 48_000)
    soundfile.write(tmp_path / "a.FLAC", noise(1.0), SAMPLE_RATE, format="FLAC")
    (tmp_path / "readme.txt").write_text("no audio")
    return tmp_path


def test_a_folder_is_listed_in_the_order_of_its_names(folder: Path) -> None:
    sounds = Sounds.read(folder)
    assert [sound.path.name for sound in sounds.files] == ["a.FLAC", "stereo.wav"]
    assert [sounds.pick(number).path.name for number in (0.0, 0.49, 0.5, 0.999)] == [
        "a.FLAC",
        "a.FLAC",
        "stereo.wav",
        "stereo.wav",
    ]


def test_a_manifest_names_files_beside_itself(folder: Path) -> None:
    manifest = folder / "noises.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": "b/stereo.wav", "text": "bus"}) + "\n")
    assert [sound.path for sound in Sounds.read(manifest).files] == [folder / "b" / "stereo.wav"]


def test_everything_is_read_as_mono_at_16_khz(folder: Path) -> None:
    for sound in Sounds.read(folder).files:
        samples = sound.read()
        assert samples.dtype == np.float32
        assert abs(len(samples) - SAMPLE_RATE) <= 1


def test_a_piece_is_as_long_as_asked_and_begins_at_its_place(folder: Path) -> None:
    sound = Sounds.read(folder).files[0]
    whole = sound.read()
    assert np.array_equal(sound.piece(1000, place=0.0), whole[:1000])
    assert np.array_equal(sound.piece(1000, place=0.5), whole[7500:8500])
    assert np.array_equal(sound.piece(SAMPLE_RATE, place=0.9), whole)


def test_a_short_file_goes_round(folder: Path) -> None:
    sound = Sounds.read(folder).files[0]
    piece = sound.piece(2 * SAMPLE_RATE + 5, place=0.25)
    assert np.array_equal(piece[:SAMPLE_RATE], np.roll(sound.read(), -SAMPLE_RATE // 4))
    assert np.array_equal(piece[SAMPLE_RATE : 2 * SAMPLE_RATE], piece[:SAMPLE_RATE])


@pytest.mark.parametrize("num_samples", [1, 999, 70_001])
def test_a_piece_of_another_rate_has_the_length_too(folder: Path, num_samples: int) -> None:
    assert len(Sounds.read(folder).files[1].piece(num_samples, place=0.3)) == num_samples


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing", None, "neither a folder nor a readable manifest"),
        ("bad.jsonl", '{"audio_filepath": "a.FLAC"}\n{"path": "x"}\n', "bad.jsonl:2: no JSON object"),
        ("gone.jsonl", '{"audio_filepath": "gone.wav"}\n', "gone.wav: not an audio file"),
        ("empty.jsonl", "", "holds no audio file"),
    ],
)
def test_what_cannot_be_used_is_named(folder: Path, name: str, content: str | None, says: str) -> None:
    path = folder / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=says):
        Sounds.read(path)


def test_a_file_without_samples_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0, dtype=np.int16), SAMPLE_RATE)
    with pytest.raises(DataError, match=r"nothing\.wav: holds no samples"):
        Sounds.read(tmp_path)
