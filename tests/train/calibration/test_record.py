"""Records come back as they were written, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError
from asr_ray.train.calibration.record import Calibration


def test_it_comes_back_exactly(calibration: Calibration, record: Callable[..., Path]) -> None:
    assert Calibration.read(record()) == calibration


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("not json", "the file"),
        ("{}", "measured_on"),
        ('{"schema_version": 2}', "schema_version"),
    ],
)
def test_other_files_are_refused_by_what_is_wrong(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"other.json: no calibration: {names}"):
        Calibration.read(path)


def test_an_unknown_key_is_refused(record: Callable[..., Path]) -> None:
    path = record()
    path.write_text(json.dumps({**json.loads(path.read_text()), "speed": 1}))
    with pytest.raises(ConfigError, match="speed"):
        Calibration.read(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json: cannot be read"):
        Calibration.read(tmp_path / "absent.json")
