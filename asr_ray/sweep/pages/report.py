"""A sweep as one HTML file: what was decided and why, what was traded, where to collect data next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from asr_ray.report.numbers import audio_time, counted, percent
from asr_ray.report.page import render_page
from asr_ray.sweep.deciding.advice import MORE_HOURS, CurvePoint, share_curve
from asr_ray.sweep.deciding.candidates import Candidate
from asr_ray.sweep.deciding.conclude import Conclusion
from asr_ray.sweep.deciding.decision import POOR_FIDELITY
from asr_ray.sweep.deciding.wording import change, short_key, shown, signed
from asr_ray.sweep.pages import plots
from asr_ray.sweep.ranges import Interval, Simplex
from asr_ray.sweep.records import TrialRecord

_CURVE_POINTS = 40
_STAGES = {"baseline": "baseline", "search": "", "proxy": "proxy", "check": "check", "seed": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    value: str
    label: str
    tone: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SharePlot:
    locale: str
    role: str
    note: str
    drawing: Markup


def render_sweep(conclusion: Conclusion) -> str:
    """Return the report as HTML."""
    decision = conclusion.decision
    named = [*conclusion.policy.targets, *conclusion.policy.guards]
    return render_page(
        "sweep.html",
        package=__package__,
        conclusion=conclusion,
        decision=decision,
        title=str(conclusion.sweep.settings.out),
        headline=headline(conclusion),
        subline=subline(conclusion),
        tiles=_tiles(conclusion),
        keys=[group or short_key(key) for key, group in columns_of(conclusion)],
        values_of=lambda each: cells_of(conclusion, each),
        locales=named,
        stages=_STAGES,
        kind_of=lambda each: _kind(conclusion, each),
        base=_base(conclusion),
        guards=set(conclusion.policy.guards),
        drawings=_drawings(conclusion),
        share_plots=_share_plots(conclusion),
        mix=_mix_rows(conclusion),
        unfinished=[each for each in conclusion.records.values() if each.status != "finished"],
        change=change,
        more_hours=MORE_HOURS,
        poor=POOR_FIDELITY,
        spent=_spent(conclusion.records.values()),
    )


def headline(conclusion: Conclusion) -> str:
    """Return the result in one sentence."""
    won = conclusion.decision.winning
    if not won.is_feasible:
        return "No mix keeps all guards within their limit."
    best = "the" if len(conclusion.policy.targets) == 1 else "on average the"
    of = "of the target" if len(conclusion.policy.targets) == 1 else "of the targets"
    return f"{won.name} wins: {best} error rate {of} is {change(won.objective)} the base."


def subline(conclusion: Conclusion) -> str:
    """Return what the winner is against the baselines, in one sentence; "" without any."""
    verdicts: dict[str, list[str]] = {}
    for each in conclusion.decision.comparisons:
        verdicts.setdefault(each.verdict, []).append(each.baseline.removeprefix("baseline-"))
    words = {"better": "Better than", "worse": "Worse than", "no difference": "Not to be told from"}
    parts = [f"{words[verdict]} {' and '.join(names)}" for verdict, names in sorted(verdicts.items())]
    return f"{'; '.join([parts[0], *(part[0].lower() + part[1:] for part in parts[1:])])}." if parts else ""


def _tiles(conclusion: Conclusion) -> list[_Tile]:
    decision = conclusion.decision
    won = decision.winning
    base = _base(conclusion)
    tiles = [
        _Tile(
            value=percent(won.rates[tag], digits=1),
            before=percent(base[tag], digits=1),
            label=f"{tag}, target",
            tone="better" if won.rates[tag] < base[tag] else "worse",
        )
        for tag in conclusion.policy.targets[:3]
    ]
    if conclusion.policy.guards:
        worst = max(conclusion.policy.guards, key=lambda tag: won.rates[tag] - base[tag])
        tiles.append(
            _Tile(
                value=f"{100 * (won.rates[worst] - base[worst]):+.1f}".replace("-", "\u2212"),
                label=f"points of error on {worst}, the guard that came off worst; "
                f"+{100 * conclusion.policy.max_guard_loss:g} is allowed",
                tone="" if won.is_feasible else "worse",
            )
        )
    ended = [each for each in conclusion.records.values() if each.rungs]
    total = math.fsum(each.audio_s for each in ended)
    tiles.append(_Tile(value=f"{len(ended)}", label=f"trials, {audio_time(total)} of audio"))
    return tiles


def _drawings(conclusion: Conclusion) -> dict[str, Markup]:
    """Return the drawings for which there is something to show; the SVG writer has escaped their text."""
    candidates = conclusion.decision.candidates
    kinds = {each.name: _kind(conclusion, each) for each in candidates}
    drawn = {}
    limit = 100 * conclusion.policy.max_guard_loss
    if conclusion.policy.guards:
        front = {dot.name for dot in plots.pareto_front([_dot(conclusion, each) for each in candidates])}
        dots = [_dot(conclusion, each, is_named=each.name in front) for each in candidates]
        drawn["pareto"] = plots.pareto_plot(dots, limit=limit)
    rungs = {
        name: [(rung.audio_s, rung.objective) for rung in record.rungs]
        for name, record in conclusion.records.items()
        if record.rungs and not record.repeats
    }
    if any(len(curve) > 1 for curve in rungs.values()):
        drawn["rungs"] = plots.rung_plot(rungs, kinds={name: kinds.get(name, "trial") for name in rungs})
    if len(columns_of(conclusion)) > 1:
        drawn["parallel"] = _parallel(conclusion)
    return {name: Markup(svg) for name, svg in drawn.items()}


def _parallel(conclusion: Conclusion) -> str:
    names = columns_of(conclusion)
    ranges = {each.key: each.range for each in conclusion.sweep.space}
    columns = []
    for key, group in names:
        found = ranges[key]
        low, high = (found.low, found.high) if isinstance(found, Interval) else (0.0, 1.0)
        columns.append(plots.Axis(key=group or key, range=None if group else found, low=low, high=high))
    trials = []
    for each in conclusion.decision.candidates:
        values = [value_of(conclusion, each.values, *name) for name in names]
        # A baseline whose mix is written as ratios has no share by group.
        if not any(isinstance(value, Mapping) for value in values):
            trials.append((each.name, _kind(conclusion, each), values, each.objective))
    return plots.parallel_plot(columns, trials=trials)


def _share_plots(conclusion: Conclusion) -> list[_SharePlot]:
    found = []
    ended = [
        each for _, each in sorted(conclusion.records.items()) if each.status == "finished" and each.rungs
    ]
    for locale, fit in conclusion.fits.items():
        if not fit.group:
            continue
        part = conclusion.point.seconds[locale] / math.fsum(conclusion.point.seconds.values())
        group = conclusion.point.shares[fit.group]
        ratio = part / group if group else 1.0
        points = [
            (record.name, observed.shares[fit.group] * ratio, observed.rates[locale])
            for record, observed in zip(ended, conclusion.observations, strict=True)
            if locale in observed.rates
        ]
        shares = [observed.shares[fit.group] for observed in conclusion.observations]
        low, high = min(shares), max(shares)
        grid = [low + (high - low) * index / (_CURVE_POINTS - 1) for index in range(_CURVE_POINTS)]
        curve = share_curve(fit, point=conclusion.point, shares=[each for each in grid if 0 < each < 1])
        own = [
            CurvePoint(share=each.share * ratio, rate=each.rate, low=each.low, high=each.high)
            for each in curve
        ]
        drawing = plots.share_plot(
            locale,
            points=points,
            curve=own if high > low else [],
            base=conclusion.scores.base[locale],
            winner=part,
        )
        slope, deviation = float(fit.mean[1]), math.sqrt(max(0.0, float(fit.covariance[1, 1])))
        note = (
            f"Goes with its seconds to the power of {signed(slope, digits=2)} ± {1.96 * deviation:.2f}; "
            f"seed and test set move one run by {percent(fit.noise, digits=0)}."
        )
        role = "target" if locale in conclusion.policy.targets else "guard"
        found.append(_SharePlot(locale=locale, role=role, note=note, drawing=Markup(drawing)))
    return found


def _mix_rows(conclusion: Conclusion) -> list[tuple[str, float, float, float]]:
    """(locale, share of the hours, share in the winning mix, passes over it), the largest share first."""
    won = conclusion.decision.winning
    rows = [
        (
            tag,
            conclusion.data.get(tag, 0.0),
            share,
            conclusion.point.seconds.get(tag, 0.0) / (3600 * conclusion.hours[tag])
            if conclusion.hours.get(tag)
            else 0.0,
        )
        for tag, share in won.mix.items()
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def _dot(conclusion: Conclusion, each: Candidate, *, is_named: bool = False) -> plots.Dot:
    base = conclusion.scores.test_base if each.judged == "test" else conclusion.scores.base
    kind = _kind(conclusion, each)
    return plots.Dot(
        name=each.name,
        kind=kind,
        objective=each.objective,
        guard_change=100 * max(each.rates[tag] - base[tag] for tag in conclusion.policy.guards),
        is_named=is_named or kind in ("winner", "baseline"),
    )


def _kind(conclusion: Conclusion, each: Candidate) -> str:
    if each.name == conclusion.decision.winner:
        return "winner"
    if each.stage == "baseline":
        return "baseline"
    if each.broken:
        return "broken"
    return "tied" if each.is_tied else "trial"


def _base(conclusion: Conclusion) -> Mapping[str, float]:
    return conclusion.scores.test_base if conclusion.decision.judged == "test" else conclusion.scores.base


def columns_of(conclusion: Conclusion) -> list[tuple[str, str]]:
    """Return what tables have a column for: (key, "") each, or (key, group) for each group of a simplex."""
    found = []
    for each in conclusion.sweep.space:
        groups = list(each.range.groups) if isinstance(each.range, Simplex) else [""]
        found += [(each.key, group) for group in groups]
    return found


def cells_of(conclusion: Conclusion, each: Candidate) -> list[str]:
    """Return the values of a trial in the order of `columns_of`."""
    found = []
    for key, group in columns_of(conclusion):
        value = value_of(conclusion, each.values, key, group)
        found.append(percent(value, digits=1) if group and isinstance(value, float) else shown(value))
    return found


def value_of(conclusion: Conclusion, values: Mapping[str, Any], key: str, group: str = "") -> Any:
    """Return what a trial has at a key, as shares of groups where groups are searched."""
    value = values.get(key, conclusion.sweep.configured.get(key))
    simplex = conclusion.sweep.simplex
    if simplex is not None and isinstance(value, Mapping) and value.keys() != simplex.groups.keys():
        point = conclusion.sweep.in_space({**conclusion.sweep.configured, **values})
        value = point[key] if point else value
    return value[group] if group and isinstance(value, Mapping) and group in value else value


def _spent(records: Sequence[TrialRecord] | Any) -> str:
    elapsed = math.fsum(each.elapsed_s for each in records)
    return counted(round(elapsed / 60), "minute") if elapsed < 5400 else f"{elapsed / 3600:,.1f} hours"
