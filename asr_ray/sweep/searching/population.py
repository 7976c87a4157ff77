"""Population-based training over the mix (arXiv 1711.09846), segment by segment. Pure.

All members of a generation train to the same step. Then those that lag take over weights and mix of a
leader, and the mix is moved a little; the others go on as they are. A mix may change at a step, so what a
lineage did stands in its configuration, in `data.mix.schedule`: any member can be trained again from its
values alone, and taking over a checkpoint only saves the time. Members of one generation wait for each
other; what this costs in idle workers it gives back in being exact, and in surviving a kill at any moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_ray.errors import ConfigError
from asr_ray.sweep.records import TrialRecord
from asr_ray.sweep.space import Sweep, Values

SCHEDULE = "data.mix.schedule"
_MIX = "data.mix."


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of one generation.

    Attributes:
        drawn: values of the space that hold in this segment.
        values: of the whole lineage, with its schedule.
        parent: name of the member of the generation before whose weights it begins with; None for the first.
        until_step: where its segment ends.
    """

    name: str
    drawn: Values
    values: Values
    parent: str | None
    until_step: int


def check_population(sweep: Sweep) -> None:
    """Raise ConfigError where the space holds what cannot change during a run."""
    if fixed := [each.key for each in sweep.space if not each.key.startswith(_MIX)]:
        raise ConfigError(
            f"{sweep.path or '--set'}: search pbt changes the mix during the run; {', '.join(fixed)} cannot",
            fix="give these keys one value, or search with optuna",
        )
    if sweep.settings_of(sweep.configured, run_dir=Path("sweep")).data.mix.schedule:
        raise ConfigError(
            f"{sweep.path or '--set'}: search pbt writes {SCHEDULE}, which the configuration holds already",
            fix="take it out",
        )


def num_generations(sweep: Sweep) -> int:
    """Segments of a run."""
    settings = sweep.settings_of(sweep.configured, run_dir=Path("sweep"))
    return math.ceil(settings.max_steps / _segment_steps(sweep))


def generation(sweep: Sweep, records: Mapping[str, TrialRecord], *, number: int) -> list[Member]:
    """Return the members of a generation, from 0 on, given the records of all before it."""
    rng = np.random.default_rng([sweep.settings.seed, number])
    max_steps = sweep.settings_of(sweep.configured, run_dir=Path("sweep")).max_steps
    until_step = min(max_steps, (number + 1) * _segment_steps(sweep))
    size = sweep.settings.pbt.population
    if number == 0:
        # One member begins with what is configured; the others are drawn.
        first = [sweep.in_space(sweep.configured) or sweep.sample(rng)]
        first += [sweep.sample(rng) for _ in range(size - 1)]
        return [
            Member(name=_name(0, place), drawn=values, values=values, parent=None, until_step=until_step)
            for place, values in enumerate(first)
        ]
    before = generation(sweep, records, number=number - 1)
    order = sorted(range(size), key=lambda place: _rank(records[before[place].name]))
    lag = max(1, int(sweep.settings.pbt.quantile * size))
    members = []
    for place, own in enumerate(before):
        source, drawn = own, own.drawn
        if place in order[-lag:] or records[own.name].last is None:
            source = before[order[int(rng.integers(lag))]]
            drawn = sweep.moved(source.drawn, rng=rng)
        members.append(
            Member(
                name=_name(number, place),
                drawn=drawn,
                values=_continued(sweep, source, drawn=drawn),
                parent=source.name,
                until_step=until_step,
            )
        )
    return members


def _segment_steps(sweep: Sweep) -> int:
    every = sweep.settings_of(sweep.configured, run_dir=Path("sweep")).validation.every_steps
    return sweep.settings.pbt.segment_steps or every


def _name(number: int, place: int) -> str:
    return f"pbt-{number:02d}-{place:02d}"


def _rank(record: TrialRecord) -> tuple[float, float]:
    """Any that was validated before any that failed."""
    return (record.last.excess, record.last.objective) if record.last else (math.inf, math.inf)


def _continued(sweep: Sweep, source: Member, *, drawn: Values) -> dict[str, Any]:
    """The values of a lineage with another mix from the end of its last segment on."""
    if drawn == source.drawn:
        return dict(source.values)
    mix = sweep.settings_of(drawn, run_dir=Path("sweep")).data.mix
    change = mix.model_dump(mode="json", exclude={"schedule"}, exclude_none=True)
    if mix.ratios is not None:
        change.pop("alpha")
    schedule: Sequence[Any] = source.values.get(SCHEDULE, ())
    return {**source.values, SCHEDULE: [*schedule, {"from_step": source.until_step, **change}]}
