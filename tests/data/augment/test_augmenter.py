"""The same key always gives the same audio; what is off does nothing and disturbs nobody."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.data.audio import encode_flac
from asr_ray.data.augment.augmenter import Augmenter, speed_rule
from asr_ray.data.augment.speed import SpeedRule, played_samples
from asr_ray.settings.augment import AugmentSettings
from asr_ray.testing.noise import noise

SAID = noise(0.3, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noises and two rooms."""
    root = tmp_path_factory.mktemp("sounds")
    for name, count in (("noise", 3), ("rooms", 2)):
        (root / name).mkdir()
        for index in range(count):
            fading = np.exp(-np.arange(1600) / 200) if name == "rooms" else 1.0
            (root / name / f"{index}.flac").write_bytes(
                encode_flac((noise(0.1, seed=index) * fading).astype(np.int16))
            )
    return root


def everything(folder: Path, *, probability: float = 1.0) -> dict[str, dict[str, object]]:
    return {
        "speed": {"probability": probability},
        "room": {"path": folder / "rooms", "probability": probability},
        "noise": {"path": folder / "noise", "probability": probability},
        "gain": {"probability": probability, "range_db": (-6, 40)},
        "telephone": {"probability": probability},
        "codec": {"probability": probability, "codecs": ["mu-law", "a-law", "gsm", "vorbis", "mp3"]},
    }


def augmenter(sections: dict[str, dict[str, object]]) -> Augmenter:
    return Augmenter.build(AugmentSettings.model_validate(sections))


def apply(by: Augmenter, *, key: int, speed: float = 1.0) -> npt.NDArray[np.int16]:
    return by.apply(SAID, key=key, speed=speed)


@settings(max_examples=40)
@given(key=st.integers(0, 2**64 - 1), speed=st.sampled_from([0.9, 1.0, 1.1]), probability=st.floats(0, 1))
def test_the_result_is_int16_of_the_planned_length_and_repeats(
    folder: Path, key: int, speed: float, probability: float
) -> None:
    by = augmenter(everything(folder, probability=probability))
    once = apply(by, key=key, speed=speed)
    assert once.dtype == np.int16
    assert len(once) == played_samples(np.array([len(SAID)]), np.array([speed]))[0]
    # In another process the augmenter is a copy.
    assert np.array_equal(once, apply(pickle.loads(pickle.dumps(by)), key=key, speed=speed))


def test_another_key_is_another_sound(folder: Path) -> None:
    by = augmenter(everything(folder))
    assert len({apply(by, key=key).tobytes() for key in range(20)}) == 20


def test_nothing_is_touched_when_nothing_is_drawn(folder: Path) -> None:
    by = augmenter(everything(folder, probability=0.0))
    assert all(apply(by, key=key) is SAID for key in range(20))


@pytest.mark.parametrize("name", ["room", "noise", "gain", "telephone", "codec"])
def test_each_section_alone_changes_the_audio_as_often_as_asked(folder: Path, name: str) -> None:
    always, half = (augmenter({name: everything(folder, probability=p)[name]}) for p in (1.0, 0.5))
    keys = [int(key) for key in np.random.default_rng(0).integers(0, 2**63, 200)]
    changed = [key for key in keys if apply(half, key=key) is not SAID]
    assert 60 <= len(changed) <= 140
    for key in changed[:10]:
        assert np.array_equal(apply(half, key=key), apply(always, key=key))
        assert not np.array_equal(apply(always, key=key), SAID)


def test_an_operation_that_is_off_does_not_move_the_draws_of_the_others(folder: Path) -> None:
    sections = everything(folder)
    with_room = augmenter({"room": sections["room"], "gain": {"probability": 0.5, "range_db": (-6, -6)}})
    without = augmenter({"gain": {"probability": 0.5, "range_db": (-6, -6)}})
    for key in range(50):
        softer = apply(without, key=key) is not SAID
        loudness = np.sqrt(np.mean(apply(with_room, key=key).astype(float) ** 2))
        expected = np.sqrt(np.mean(SAID.astype(float) ** 2)) * (10 ** (-6 / 20) if softer else 1)
        assert loudness == pytest.approx(expected, rel=0.02)


def test_gain_never_clips() -> None:
    by = augmenter({"gain": {"probability": 1.0, "range_db": (40, 60)}})
    loud = apply(by, key=1)
    assert np.abs(loud.astype(int)).max() == 32767
    assert np.corrcoef(loud, SAID)[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("section", "rule"),
    [
        (None, None),
        ({"probability": 0.0}, None),
        ({"factors": [1.0]}, None),
        ({"factors": [0.9, 1.1], "probability": 0.4}, SpeedRule(factors=(0.9, 1.1), probability=0.4)),
    ],
)
def test_a_speed_that_changes_no_duration_is_no_rule(
    section: dict[str, object] | None, rule: SpeedRule | None
) -> None:
    assert speed_rule(AugmentSettings.model_validate({"speed": section}).speed) == rule
