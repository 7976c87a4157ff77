"""Sweep files and made-up trials, shared by the tests of what decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from asr_ray.sweep.space import Sweep, load_sweep

RUN: dict[str, Any] = {
    "max_steps": 100,
    "data": {"train": "data/train", "validation": "data/validation"},
    "model": {"base": "tiny"},
    "optim": {"warmup_steps": 10},
    "validation": {"targets": ["el-GR", "bg-BG"], "guards": ["en-US"], "every_steps": 20},
}

Load = Callable[..., Sweep]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a run and a sweep file that names it as base, and load the sweep."""

    def load_file(over: dict[str, Any], *, sets: list[str] | None = None) -> Sweep:
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN), encoding="utf-8")
        tree = {"base": "run.yaml", "sweep": {"out": "runs/sweep"}, **over}
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        return load_sweep(path, sets=sets or [])

    return load_file


ALPHA = {
    "data": {
        "mix": {
            "alpha": {"uniform": [0, 1]},
            "replay": {"share": {"uniform": [0.1, 0.5]}, "locales": ["en-US"]},
        }
    },
    "optim": {"peak_lr": {"loguniform": [1e-4, 1e-2]}},
}

GROUPS = {
    "data": {
        "mix": {
            "ratios": {"simplex": {"greek": ["el-GR"], "bulgarian": ["bg-BG"], "kept": ["en-US", "es-ES"]}}
        }
    },
    "sweep": {"out": "runs/sweep", "search": "proxy"},
}
