"""A sweep file -> the runs it may mean. Pure: what is known of the data is handed in.

A sweep file is the configuration of a run in which any key may hold a range (see `ranges`), and the section
`sweep`. Values of a trial are kept by dotted key, `{"data.mix.alpha": 0.3, "optim.peak_lr": 1e-4}`; what
they mean is decided in one place, `Sweep.settings_of`, for drawn trials, baselines and finalists alike.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from asr_ray.config import Settings, Tree, layers, section_of, validated
from asr_ray.errors import ConfigError
from asr_ray.settings import TrainSettings
from asr_ray.settings.sweep import SweepFileSettings, SweepSettings
from asr_ray.sweep.ranges import Choice, Range, Simplex, is_range, parse_range

Values = Mapping[str, Any]
"""Dotted key -> value; a simplex has a mapping group -> share."""

RATIOS, ALPHA, REPLAY = "data.mix.ratios", "data.mix.alpha", "data.mix.replay"
_MIX = "data.mix."
_ALIKE, _ALIKE_SECTIONS = ("run_dir", "seed", "max_steps"), ("sweep.", "validation.", "resources.")

UNIFORM, SQRT_HOURS, CONFIGURED = "uniform", "hours-0.5", "configured"
"""Names of the baselines."""

# Twelve ranges of two ends each; validating one configuration takes a fraction of a millisecond.
_MOST_CORNERS = 4096


class _Section(Settings):
    """The section `sweep` alone, for errors that name its keys."""

    sweep: SweepSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One key that is searched.

    Attributes:
        configured: what it would be without its range, from a base file or the schema; the middle of the
            range where neither says.
    """

    key: str
    range: Range
    configured: Any
    origin: str

    @property
    def path(self) -> tuple[str, ...]:
        """The key, part by part."""
        return tuple(self.key.split("."))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file, read and checked.

    Attributes:
        tree: configuration of the runs; where a range stood, the configured value stands.
        space: in the order of the file.
        origins: dotted key -> file or override.
        hours: locale -> hours of training data, see `with_hours`; needed to share out groups of several
            locales and for the baseline by hours.
    """

    path: Path | None
    tree: Tree = field(repr=False)
    space: tuple[Dimension, ...]
    settings: SweepSettings
    origins: Mapping[str, str] = field(repr=False)
    hours: Mapping[str, float] | None = None

    def with_hours(self, hours: Mapping[str, float]) -> Sweep:
        """Return the sweep with what the catalog says of the training data, locale -> hours."""
        return replace(self, hours=dict(hours))

    @property
    def simplex(self) -> Simplex | None:
        """The groups of locales that are searched, if any."""
        return next((each.range for each in self.space if isinstance(each.range, Simplex)), None)

    @property
    def configured(self) -> Values:
        """The values that the configuration has without its ranges."""
        return {each.key: each.configured for each in self.space}

    def settings_of(self, values: Values, *, run_dir: Path, seed: int | None = None) -> TrainSettings:
        """Return the configuration of one trial.

        Args:
            values: of any keys; those that are left out stay as configured.
            seed: in place of the configured one.

        Raises:
            ConfigError: the values are no valid configuration, or `hours` are needed and not known.
        """
        tree = copy.deepcopy(self.tree)
        for key, value in values.items():
            put(tree, tuple(key.split(".")), value)
        simplex, shares = self.simplex, values.get(RATIOS)
        if simplex is not None and isinstance(shares, Mapping) and shares.keys() == simplex.groups.keys():
            alpha = at(tree, ALPHA.split("."))
            put(tree, tuple(RATIOS.split(".")), self._ratios(simplex, shares, alpha=alpha))
        tree["run_dir"] = str(run_dir)
        if seed is not None:
            tree["seed"] = seed
        return validated(tree, schema=TrainSettings, origins=self.origins)

    def sample(self, rng: np.random.Generator) -> Values:
        """Draw the values of a trial."""
        return {each.key: each.range.sample(rng) for each in self.space}

    def moved(self, values: Values, *, rng: np.random.Generator) -> Values:
        """Return values near others, for the trial of a population that takes over from a leader."""
        pbt = self.settings.pbt
        found = {}
        for each in self.space:
            anew = rng.random() < pbt.resample_probability or not each.range.holds(values[each.key])
            found[each.key] = (
                each.range.sample(rng)
                if anew
                else each.range.moved(values[each.key], factors=pbt.factors, rng=rng)
            )
        return found

    def grid(self) -> list[Values]:
        """Return every combination of a few values per key."""
        values = [each.range.grid(self.settings.grid_points) for each in self.space]
        keys = [each.key for each in self.space]
        return [dict(zip(keys, combination, strict=True)) for combination in itertools.product(*values)]

    def baselines(self) -> dict[str, Values]:
        """Return what any search has to beat, by name; a mix that is another one's equal stands once.

        Uniform and by the square root of the hours where the mix is searched, and what is configured; all
        other keys as configured.

        Raises:
            ConfigError: groups of locales are searched, and `hours` are not known.
        """
        mixes = self._baseline_mixes() if any(each.key.startswith(_MIX) for each in self.space) else {}
        found: dict[str, Values] = {}
        for name, mix in (*mixes.items(), (CONFIGURED, self._configured_mix())):
            values = {**self.configured, **mix}
            if values not in found.values():
                found[name] = values
        return found

    def in_space(self, values: Values) -> Values | None:
        """Return values as a point of the space, for a search that is told of a baseline; None outside."""
        point = dict(values)
        simplex, ratios = self.simplex, point.get(RATIOS)
        if simplex is not None and isinstance(ratios, Mapping) and ratios.keys() != simplex.groups.keys():
            point[RATIOS] = _group_shares(ratios, simplex)
        keys = {each.key for each in self.space}
        foreign = {key: value for key, value in point.items() if key not in keys}
        if any(value != at(self.tree, tuple(key.split("."))) for key, value in foreign.items()):
            return None
        if not all(each.range.holds(point.get(each.key)) for each in self.space):
            return None
        return {each.key: point[each.key] for each in self.space}

    def parts(self) -> dict[str, float]:
        """Return locale -> its part of the share of its group; {} where no groups are searched.

        Raises:
            ConfigError: a group has several locales, and `hours` are not known.
        """
        simplex, alpha = self.simplex, at(self.tree, ALPHA.split("."))
        if simplex is None:
            return {}
        return self._ratios(simplex, dict.fromkeys(simplex.groups, 1.0), alpha=alpha)

    def _baseline_mixes(self) -> dict[str, Values]:
        simplex = self.simplex
        if simplex is None:
            return {UNIFORM: {RATIOS: None, ALPHA: 0.0}, SQRT_HOURS: {RATIOS: None, ALPHA: 0.5}}
        return {
            UNIFORM: {RATIOS: dict.fromkeys(simplex.locales, 1.0)},
            SQRT_HOURS: {RATIOS: self._by_hours(simplex.locales, alpha=0.5)},
        }

    def _configured_mix(self) -> Values:
        """The mix as configured, in words that compare equal to those of the other baselines."""
        mix = self.tree.get("data", {}).get("mix", {})
        ratios, alpha = mix.get("ratios"), mix.get("alpha", 0.5)
        if not any(each.key.startswith(_MIX) for each in self.space):
            return {}
        if self.simplex is None:
            return {RATIOS: ratios, ALPHA: alpha}
        return {RATIOS: ratios or self._by_hours(self.simplex.locales, alpha=alpha)}

    def _ratios(self, simplex: Simplex, shares: Mapping[str, float], *, alpha: float) -> dict[str, float]:
        """Share out the share of each group among its locales by hours ** alpha, as in a mix."""
        found: dict[str, float] = {}
        for name, locales in simplex.groups.items():
            weights = {locales[0]: 1.0} if len(locales) == 1 else self._by_hours(locales, alpha=alpha)
            total = math.fsum(weights.values())
            found |= {locale: shares[name] * weight / total for locale, weight in weights.items()}
        return found

    def _by_hours(self, locales: Sequence[str], *, alpha: float) -> dict[str, float]:
        if alpha == 0:
            return dict.fromkeys(locales, 1.0)
        if self.hours is None or not all(self.hours.get(locale, 0.0) > 0 for locale in locales):
            missing = [tag for tag in locales if not (self.hours or {}).get(tag)]
            raise ConfigError(
                f"{RATIOS}: how many hours of {', '.join(missing)} there are is not known, and groups are "
                "shared out by them",
                fix="prepare a corpus of it, or take it out of the groups",
            )
        return {locale: self.hours[locale] ** alpha for locale in locales}


def load_sweep(path: Path | None, *, sets: Sequence[str] = ()) -> Sweep:
    """Read a sweep file with its bases, apply overrides, find the ranges and check the corners of the space.

    Args:
        sets: overrides such as `optim.peak_lr=3e-4`; one takes the place of a range, and may be one.

    Raises:
        ConfigError: as `config.load`; a range that is none, is empty, or reaches where no run is valid; no
            range at all; `search: proxy` without groups.
    """
    layered = layers(path, schema=SweepFileSettings, sets=sets, is_whole=is_range)
    tree = copy.deepcopy(layered.tree)
    space = []
    for key, value in list(_ranges(tree)):
        origin = layered.origins[key]
        parsed = parse_range(value, key=key, where=origin, is_whole=_takes_whole_numbers(key))
        _check_place(parsed, key=key, where=origin)
        configured = layered.covered.get(key, _default(key, parsed))
        put(tree, tuple(key.split(".")), configured)
        space.append(Dimension(key=key, range=parsed, configured=configured, origin=origin))
    section = validated({"sweep": tree.pop("sweep", {})}, schema=_Section, origins=layered.origins)
    sweep = Sweep(path=path, tree=tree, space=tuple(space), settings=section.sweep, origins=layered.origins)
    _check_space(sweep)
    return sweep


def put(tree: Tree, path: Sequence[str], value: Any) -> None:
    """Set a value in a tree, making the sections on the way."""
    *sections, last = path
    for part in sections:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[last] = copy.deepcopy(dict(value) if isinstance(value, Mapping) else value)


def at(tree: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return what stands in a tree, or the schema's default."""
    found: Any = tree
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            return _schema_default(path)
        found = found[part]
    return found


def _ranges(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        if is_range(value):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _ranges(value, f"{prefix}{key}.")


def _check_place(parsed: Range, *, key: str, where: str) -> None:
    if isinstance(parsed, Simplex) != (key == RATIOS) and not isinstance(parsed, Choice):
        kind = "simplex" if isinstance(parsed, Simplex) else "range of numbers"
        raise ConfigError(
            f"{where}: {key} cannot hold a {kind}",
            fix=f"a simplex belongs at {RATIOS}, and nothing but a simplex or a choice does",
        )
    if key in _ALIKE or key.startswith(_ALIKE_SECTIONS):
        raise ConfigError(
            f"{where}: {key} holds a range, but trials must be alike in it to be compared",
            fix="give one value; `sweep.finalists.seeds` repeats the best trials with other seeds",
        )


def _check_space(sweep: Sweep) -> None:
    place = sweep.path or "--set"
    if not sweep.space:
        raise ConfigError(
            f"{place}: no key holds a range, there is nothing to search",
            fix="write for instance `data: {mix: {alpha: {uniform: [0.0, 1.0]}}}`",
        )
    simplex = sweep.simplex
    if sweep.settings.search == "proxy" and (simplex is None or len(sweep.space) > 1):
        raise ConfigError(
            f"{place}: search proxy designs mixes of groups of locales, and nothing else",
            fix=f"give {RATIOS} as {{simplex: {{GROUP: [LOCALES], ...}}}}, and one value to all other keys",
        )
    # Any hours will do: they decide shares, not whether a configuration is valid.
    assumed = sweep.with_hours(dict.fromkeys(simplex.locales, 1.0)) if simplex else sweep
    # What is configured may lie outside of its range, but the baselines have it.
    for values in (*_corners(sweep.space), sweep.configured):
        try:
            settings = assumed.settings_of(values, run_dir=Path("sweep"))
        except ConfigError as error:
            shown = ", ".join(f"{key} {value}" for key, value in values.items())
            raise ConfigError(
                f"{place}: the space holds runs that cannot be, such as {shown}:\n{error.message}",
                fix="narrow the ranges of these keys",
            ) from None
        _check_groups(settings, simplex=simplex, place=place)
    if simplex is not None and any(each.key == ALPHA for each in sweep.space):
        _check_alpha_has_effect(simplex, place=place)


def _corners(space: Sequence[Dimension]) -> list[Values]:
    """Every combination of extremes; of many keys, each key's extremes with all others as configured."""
    keys = [each.key for each in space]
    extremes = [each.range.extremes() for each in space]
    if math.prod(map(len, extremes)) <= _MOST_CORNERS:
        return [dict(zip(keys, corner, strict=True)) for corner in itertools.product(*extremes)]
    ends = zip(*([values[0], values[-1]] for values in extremes), strict=True)
    single = [{key: value} for key, values in zip(keys, extremes, strict=True) for value in values]
    return [*(dict(zip(keys, corner, strict=True)) for corner in ends), *single]


def _check_groups(settings: TrainSettings, *, simplex: Simplex | None, place: Path | str) -> None:
    replay = settings.data.mix.replay
    if simplex is not None and replay is not None and (both := {*simplex.locales} & {*replay.locales}):
        raise ConfigError(
            f"{place}: {', '.join(sorted(both))} is in a group of {RATIOS} and in {REPLAY}",
            fix="write `replay: null` under data.mix to search its share as that of a group",
        )


def _check_alpha_has_effect(simplex: Simplex, *, place: Path | str) -> None:
    if all(len(locales) == 1 for locales in simplex.groups.values()):
        raise ConfigError(
            f"{place}: {ALPHA} shares out groups of several locales, and each group here has one",
            fix="search one of both",
        )


def _group_shares(ratios: Mapping[str, float], simplex: Simplex) -> dict[str, float] | None:
    if not ratios.keys() <= {*simplex.locales}:
        return None
    total = math.fsum(ratios.values())
    return {
        name: math.fsum(ratios.get(locale, 0.0) for locale in locales) / total
        for name, locales in simplex.groups.items()
    }


def _default(key: str, parsed: Range) -> Any:
    """What the schema says of a key, or the middle of its range."""
    default = _schema_default(key.split("."))
    return default if key == RATIOS or parsed.holds(default) else parsed.middle()


def _schema_default(path: Sequence[str]) -> Any:
    schema: type[Settings] | None = TrainSettings
    for part in path[:-1]:
        found = schema.model_fields.get(part) if schema else None
        schema = section_of(found.annotation) if found else None
    last = schema.model_fields.get(path[-1]) if schema else None
    return None if last is None or last.is_required() else last.get_default(call_default_factory=True)


def _takes_whole_numbers(key: str) -> bool:
    schema: type[Settings] | None = TrainSettings
    annotation: Any = None
    for part in key.split("."):
        found = schema.model_fields.get(part) if schema else None
        annotation = found.annotation if found else None
        schema = section_of(annotation)
    kinds = {annotation, *get_args(annotation)}
    return int in kinds and float not in kinds
