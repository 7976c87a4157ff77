"""Pins are read as pip reads them, and builds of one version are that version."""

from __future__ import annotations

import re
from pathlib import Path

from asr_ray.doctor.versions import DECISIVE, MUST_AGREE, canonical, read_constraints, untested

ROOT = Path(__file__).resolve().parents[2]


def test_the_decisive_packages_are_pinned() -> None:
    assert set(DECISIVE) <= set(read_constraints(ROOT / "constraints.txt"))
    assert set(MUST_AGREE) <= set(DECISIVE)


def test_names_are_compared_as_indexes_do(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text("# a comment\nNeMo_toolkit==3.0.0 ; python_version > '3'\nzope.interface==1\nloose>=2\n")
    assert read_constraints(file) == {"nemo-toolkit": "3.0.0", "zope-interface": "1"}
    assert canonical("whisper_normalizer") == "whisper-normalizer"


def test_without_a_file_nothing_is_tested(tmp_path: Path) -> None:
    assert read_constraints(tmp_path / "absent.txt") == {}


def test_a_build_is_no_other_version() -> None:
    installed = {"torch": "2.13.0+cu130", "numpy": "2.5.0", "unknown": "1"}
    assert untested(installed, tested={"torch": "2.13.0", "numpy": "2.4.6"}) == {"numpy": ("2.5.0", "2.4.6")}


def test_the_pin_of_ray_lies_in_the_range_of_the_package() -> None:
    pin = read_constraints(ROOT / "constraints.txt")["ray"]
    (low, high) = re.findall(r"ray\[[^]]*\]>=([\d.]+),<([\d.]+)", (ROOT / "pyproject.toml").read_text())[0]
    assert (
        tuple(map(int, low.split("."))) <= tuple(map(int, pin.split("."))) < tuple(map(int, high.split(".")))
    )
