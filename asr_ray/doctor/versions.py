"""Installed versions against those in which the tests passed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DECISIVE = (
    "ray",
    "torch",
    "nemo-toolkit",
    "lightning",
    "lhotse",
    "datasets",
    "pyarrow",
    "fsspec",
    "numpy",
    "numba",
    "scipy",
    "soundfile",
    "soxr",
    "sentencepiece",
    "kaldialign",
    "whisper-normalizer",
    "pydantic",
    "rich",
)
"""Packages whose version decides what this project does; the others follow from them."""

MUST_AGREE = ("ray", "torch", "nemo-toolkit", "pyarrow", "numpy")
"""Packages whose objects travel between nodes, or whose weights are averaged over them."""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)")


def canonical(name: str) -> str:
    """Return a package name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_constraints(path: Path) -> dict[str, str]:
    """Return package -> pinned version from a constraints file of pip; empty if there is no file."""
    if not path.is_file():
        return {}
    matches = (_PIN.match(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {canonical(match[1]): match[2] for match in matches if match}


def public(version: str) -> str:
    """Return a version without the part that names a build: 2.13.0+cpu -> 2.13.0."""
    return version.partition("+")[0]


def untested(versions: Mapping[str, str], *, tested: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return package -> (installed, tested) where the two differ."""
    return {
        name: (version, tested[name])
        for name, version in versions.items()
        if name in tested and public(version) != public(tested[name])
    }
