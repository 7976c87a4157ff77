"""YAML files and `--set` overrides -> one validated, frozen settings object that knows its origins.

A file may name its parent with `base: other.yaml` (relative to itself) and then holds only what
differs. Later wins: default < base file < file < `--set key.path=value`. Every key is checked against
the schema before anything slow is imported; an unknown key is an error that names the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from asr_ray.errors import ConfigError
from asr_ray.locales import nearest

Tree = dict[str, Any]
"""A parsed YAML mapping."""


class Settings(BaseModel):
    """Base of every settings section: frozen, and no key beyond the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def context_of(cls, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Return what validators of single fields may know of the whole tree (pydantic's context)."""
        return {}


S = TypeVar("S", bound=Settings)

IsWhole = Callable[[Any], bool]
"""Whether a mapping in a file is one value, with no keys of the schema in it."""


def _never(value: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings with the place each explicit value came from (`mix.alpha` -> `configs/runs/x.yaml`)."""

    settings: S
    origins: Mapping[str, str]


def load(path: Path | None, *, schema: type[S], sets: Sequence[str] = ()) -> Loaded[S]:
    """Read a settings file with its bases, apply overrides and validate.

    Args:
        path: YAML file; None starts from the schema's defaults.
        schema: the settings class to validate against.
        sets: overrides such as `optim.peak_lr=3e-4`; the value is parsed as YAML.

    Raises:
        ConfigError: unreadable file, circular base, malformed override, unknown key or bad value.
    """
    layered = layers(path, schema=schema, sets=sets)
    return Loaded(validated(layered.tree, schema=schema, origins=layered.origins), layered.origins)


@dataclass(frozen=True, slots=True)
class Layered:
    """A file with its bases and overrides, not validated yet beyond the names of its keys.

    Attributes:
        covered: what stood at a key before a whole value took its place, by dotted key.
    """

    tree: Tree
    origins: Mapping[str, str]
    covered: Mapping[str, Any]


def layers(
    path: Path | None, *, schema: type[Settings], sets: Sequence[str] = (), is_whole: IsWhole = _never
) -> Layered:
    """Read a settings file with its bases and apply overrides.

    Args:
        is_whole: mappings for which this holds stand for one value: they replace what is below them and are
            replaced as one.

    Raises:
        ConfigError: unreadable file, circular base, malformed override or unknown key.
    """
    tree: Tree = {}
    origins: dict[str, str] = {}
    covered: dict[str, Any] = {}
    parsed = [
        *_layers(path),
        *((f"--set {assignment}", _parse_assignment(assignment)) for assignment in sets),
    ]
    for name, layer in parsed:
        _check_keys(layer, schema=schema, where=name, is_whole=is_whole)
        _overlay(tree, layer, is_whole=is_whole, covered=covered)
        origin = "--set" if name.startswith("--set ") else name
        origins |= dict.fromkeys((key for key, _ in _leaves(layer, is_whole=is_whole)), origin)
    return Layered(tree, origins, covered)


def validated(tree: Tree, *, schema: type[S], origins: Mapping[str, str]) -> S:
    """Return a tree as settings.

    Raises:
        ConfigError: a bad value; it names key and origin.
    """
    try:
        return schema.model_validate(tree, context=schema.context_of(tree))
    except ValidationError as error:
        raise ConfigError(
            _explain(error, origins), fix="correct these values; --dry-run shows all of them"
        ) from None


def describe(loaded: Loaded[Any]) -> str:
    """Return every resolved value with its origin, one `key = value  # origin` line each."""
    lines = [(key, _show(value)) for key, value in flat(loaded.settings).items()]
    width = max((len(key) + len(value) for key, value in lines), default=0) + 3
    return "\n".join(
        f"{f'{key} = {value}':<{width}}  # {_origin_of(key, loaded.origins)}" for key, value in lines
    )


def flat(settings: Settings) -> dict[str, Any]:
    """Return every value by its path, `{"optim.peak_lr": 1e-4, ...}`."""
    return dict(_leaves(settings.model_dump(mode="json")))


def dump(settings: Settings) -> str:
    """Return the settings as YAML that `load` reads back to an equal object."""
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _layers(path: Path | None, seen: tuple[Path, ...] = ()) -> Iterator[tuple[str, Tree]]:
    """Yield (file name, tree) from the outermost base to the file itself."""
    if path is None:
        return
    resolved = path.resolve()
    if resolved in seen:
        chain = " -> ".join(str(file) for file in (*seen, resolved))
        raise ConfigError(f"circular base: {chain}", fix="remove one of the `base:` lines")
    tree = _read(path)
    base = tree.pop("base", None)
    if base is not None:
        yield from _layers(path.parent / str(base), (*seen, resolved))
    yield str(path), tree


def _read(path: Path) -> Tree:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(
            f"{path}: no such configuration file", fix="check the path after --config"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: not valid YAML: {error}", fix="correct the syntax at that place"
        ) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: top level is a {type(tree).__name__}", fix="write `key: value` lines")
    return tree


def _parse_assignment(assignment: str) -> Tree:
    key, separator, raw = assignment.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set {assignment!r}: not an assignment", fix="write --set key.path=value")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {assignment!r}: value is not YAML: {error}", fix="quote the value"
        ) from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _overlay(
    tree: Tree, layer: Tree, *, is_whole: IsWhole, covered: dict[str, Any], prefix: str = ""
) -> None:
    """Merge `layer` into `tree` in place: mappings merge, everything else replaces."""
    for key, value in layer.items():
        path, below = f"{prefix}{key}", tree.get(key)
        if is_whole(value):
            if key in tree and not is_whole(below):
                covered[path] = below
            tree[key] = value
        elif isinstance(value, dict) and isinstance(below, dict) and not is_whole(below):
            _overlay(below, value, is_whole=is_whole, covered=covered, prefix=f"{path}.")
        elif isinstance(value, dict):
            tree[key] = {}
            _overlay(tree[key], value, is_whole=is_whole, covered=covered, prefix=f"{path}.")
        else:
            tree[key] = value


def _leaves(
    tree: Mapping[str, Any], prefix: str = "", *, is_whole: IsWhole = _never
) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and not is_whole(value):
            yield from _leaves(value, f"{path}.", is_whole=is_whole)
        else:
            yield path, value


def _show(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return text.split("\n...", maxsplit=1)[0].strip()


def _origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Origin of a leaf, or of the nearest explicit ancestor (a whole list or mapping set at once)."""
    parts = key.split(".")
    candidates = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((origins[name] for name in candidates if name in origins), "default")


def _check_keys(
    tree: Mapping[str, Any],
    *,
    schema: type[Settings],
    where: str,
    is_whole: IsWhole,
    prefix: str = "",
) -> None:
    """Raise for the first key that the schema does not declare, naming file and nearest key."""
    for key, value in tree.items():
        field = schema.model_fields.get(str(key))
        if field is None:
            guess = nearest(str(key), schema.model_fields)
            known = ", ".join(schema.model_fields)
            raise ConfigError(
                f"{where}: unknown key {prefix}{key}",
                fix=f"did you mean {prefix}{guess}?" if guess else f"keys here are: {known}",
            )
        section = section_of(field.annotation)
        if section is not None and isinstance(value, Mapping) and not is_whole(value):
            _check_keys(value, schema=section, where=where, is_whole=is_whole, prefix=f"{prefix}{key}.")


def section_of(annotation: Any) -> type[Settings] | None:
    """Return the nested settings class of a field, looking through `X | None`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Settings):
            return candidate
    return None


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for issue in error.errors(include_url=False):
        key = ".".join(str(part) for part in issue["loc"])
        value = "" if issue["type"] in ("missing", "value_error") else f" (got {issue['input']!r})"
        place = f" [{_origin_of(key, origins)}]" if key else ""
        lines.append(f"{key or 'configuration'}: {issue['msg']}{value}{place}")
    return "\n".join(lines)
