"""The configurations that ship: they load, they say the truth about defaults, they hold nothing twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticUndefined

from asr_ray.config import Settings, load
from asr_ray.settings import (
    DemoSettings,
    EvaluateSettings,
    ExportSettings,
    PrepareSettings,
    SweepFileSettings,
    SweepSettings,
    TrainSettings,
)
from asr_ray.sweep.ranges import is_range
from asr_ray.sweep.space import load_sweep

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
REFERENCE = CONFIGS / "train.yaml"
FILES = sorted(CONFIGS.rglob("*.yaml"))
SCHEMAS: dict[str, type[Settings]] = {
    "runs": TrainSettings,
    "corpora": PrepareSettings,
    "evaluation": EvaluateSettings,
    "sweeps": SweepFileSettings,
    "exports": ExportSettings,
}

Leaves = dict[tuple[str, ...], Any]
"""Path of a key -> its value."""


def name_of(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def schema_of(path: Path) -> type[Settings]:
    """The folder says what a file configures; beside train.yaml stand those of the demo."""
    if path.parent == CONFIGS:
        return TrainSettings if path == REFERENCE else DemoSettings
    return SCHEMAS[path.parent.name]


def leaves(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Leaves:
    found: Leaves = {}
    for key, value in tree.items():
        nested = isinstance(value, Mapping) and not is_range(value)
        found |= leaves(value, (*prefix, key)) if nested else {(*prefix, key): value}
    return found


def fields(schema: type[Settings], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key of a schema with its default, `PydanticUndefined` where it must be given."""
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from fields(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name), field.default


def read(path: Path) -> dict[str, Any]:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(tree, dict)
    return tree


def inherited(path: Path) -> Leaves:
    """Keys of a file and of all its bases, as `load` merges them."""
    tree = read(path)
    base = tree.pop("base", None)
    own = leaves(tree)
    # A section that takes the place of a value.
    replaced = {key[:length] for key in own for length in range(1, len(key))}
    kept = inherited(path.parent / base) if base else {}
    return {key: value for key, value in kept.items() if key not in replaced} | own


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_it_loads(path: Path) -> None:
    if schema_of(path) is SweepFileSettings:
        load_sweep(path)
    else:
        load(path, schema=schema_of(path))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_it_begins_with_what_it_is_for(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_reference_holds_every_key() -> None:
    assert set(leaves(read(REFERENCE))) == {key for key, _ in fields(TrainSettings)}


def test_the_reference_states_the_real_defaults() -> None:
    stated = leaves(read(REFERENCE))
    wrong = {
        ".".join(key): (stated[key], default)
        for key, default in fields(TrainSettings)
        if default is not PydanticUndefined and _plain(stated[key]) != _plain(default)
    }
    assert not wrong


def test_the_sweep_of_the_demo_holds_every_key_of_its_section() -> None:
    stated = read(CONFIGS / "sweeps" / "demo.yaml")["sweep"]
    assert set(stated) == set(SweepSettings.model_fields)
    for name in ("pbt", "finalists"):
        assert stated[name] == getattr(SweepSettings(out=Path("x")), name).model_dump(mode="json")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("path", [path for path in FILES if "base" in read(path)], ids=name_of)
def test_an_overlay_holds_only_what_differs(path: Path) -> None:
    tree = read(path)
    base = inherited(path.parent / tree.pop("base"))
    repeated = [".".join(key) for key, value in leaves(tree).items() if key in base and base[key] == value]
    assert not repeated
