"""One HTML file that tells what came of a model: readable offline, on paper and on a slide.

Everything stands inside the file (style, plots as SVG); nothing is fetched when it is opened. All text
that comes from data is escaped by the template engine and the SVG writer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from asr_ray.evaluate.gate import Gate
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages import plots
from asr_ray.evaluate.pages.examples import ExampleGroup
from asr_ray.evaluate.pages.latency import Curves, latency_plot
from asr_ray.evaluate.pages.sections import confusion_lists, slice_tables, speaker_rows
from asr_ray.evaluate.pages.tables import LocaleRow, locale_rows, points
from asr_ray.evaluate.scoring.confusions import Confusions
from asr_ray.evaluate.scoring.paired import PairedResult
from asr_ray.evaluate.scoring.score import EvalReport
from asr_ray.evaluate.scoring.slices import FEW_TOKENS, Slices
from asr_ray.locales import unit_of
from asr_ray.report.numbers import audio_time, counted, percent
from asr_ray.report.page import render_page

_GLYPHS = {"better": "▼", "worse": "▲", "no difference": "="}
_RATE_NAMES = {"wer": "Word error rate", "cer": "Character error rate"}
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """What a report shows; sections without data are left out.

    Attributes:
        reports: one model, or two to be compared, the base first; the names become column heads.
        decoding: test set, mode, context and prompt in words.
        paired: tests of the second model against the first.
        gate: the last model judged by an earlier evaluation; None where it is not.
        training_loss: (step, loss).
        validation: locale -> (step, error rate).
        planned_s, consumed_s: seconds of audio per locale.
        curves: error rates over latency; empty where only one context was scored.
        slices, confusions: by model, as `reports`.
        examples: from `choose_examples`.
        clips: utterance id -> speech as data URI, for as many examples as the size of a report allows.
        facts: what is needed to do it again: model, steps, machine, context, seed, hashes.
    """

    title: str
    created: datetime
    reports: Mapping[str, EvalReport]
    policy: GuardPolicy
    decoding: str = ""
    paired: Sequence[PairedResult] = ()
    gate: Gate | None = None
    training_loss: plots.Curve = ()
    validation: Mapping[str, plots.Curve] = field(default_factory=dict)
    planned_s: Mapping[str, float] = field(default_factory=dict)
    consumed_s: Mapping[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    slices: Mapping[str, Slices] = field(default_factory=dict)
    confusions: Mapping[str, Mapping[str, Confusions]] = field(default_factory=dict)
    examples: Sequence[ExampleGroup] = ()
    clips: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[LocaleRow]:
        """The locales to show, targets first."""
        return locale_rows(self.reports, paired=self.paired, policy=self.policy)

    @property
    def unused(self) -> list[str]:
        """Locales that were planned and of which nothing was consumed."""
        return [tag for tag, seconds in self.planned_s.items() if seconds and not self.consumed_s.get(tag)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    value: str
    label: str
    before: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chip:
    locale: str
    text: str
    tone: str


def write_report(path: Path, *, data: ReportData) -> None:
    """Write the report as one HTML file.

    Raises:
        ConfigError: `data` holds no model, more than two, or two scored on different locales.
    """
    path.write_text(render_report(data), encoding="utf-8")


def render_report(data: ReportData) -> str:
    """Return the report as HTML.

    Raises:
        ConfigError: see `write_report`.
    """
    rows = data.rows
    return render_page(
        "report.html",
        package=__package__,
        data=data,
        rows=rows,
        names=list(data.reports),
        headline=headline(data),
        guard_sentence=guard_sentence(data),
        gate_sentence=gate_sentence(data.gate) if data.gate else "",
        slice_tables=slice_tables(data.slices),
        few_tokens=FEW_TOKENS,
        speakers=speaker_rows(data.slices),
        confusions=confusion_lists(data.confusions),
        clips_sentence=_clips_sentence(data),
        tiles=_tiles(data),
        chips=_chips(rows),
        many=len(rows) > plots.MANY_ROWS,
        plots=_plots(data, rows),
        resampled=_resampled(rows),
        tagged=any(report.tags for report in data.reports.values()),
        guarded=any(row.within_limit is not None for row in rows),
        unit_of=unit_of,
        points=points,
    )


def headline(data: ReportData) -> str:
    """Return the result for the targets, or for all locales when a run names none, in one sentence."""
    rows = data.rows
    if rows[0].tuned is None:
        mean, what = _mean(rows), _rate_name(rows)
        return f"{what} is {percent(mean, digits=1)} on average over {counted(len(rows), 'locale')}."
    wanted = [row for row in rows if row.role == "target"] or rows
    before, after = _mean(wanted, base=True), _mean(wanted)
    subject = f"{_rate_name(wanted)} on {_listed(wanted)}"
    if percent(before, digits=1) == percent(after, digits=1):
        return f"{subject} stays at {percent(after, digits=1)}."
    verb = "falls" if after < before else "rises"
    return f"{subject} {verb} from {percent(before, digits=1)} to {percent(after, digits=1)}."


def guard_sentence(data: ReportData) -> str:
    """Return in one sentence what happened to the guards; "" when there are none to compare."""
    guards = [row for row in data.rows if row.within_limit is not None]
    broken = [row for row in guards if not row.within_limit]
    limit = f"{100 * data.policy.max_guard_loss:g} points"
    if broken:
        lost = ", ".join(f"{row.locale} ({points(_change(row), digits=1)})" for row in broken)
        return f"Guard locales lose more than the allowed {limit}: {lost}."
    if not guards:
        return ""
    worst = max(guards, key=_change)
    if len(guards) == 1:
        return f"The guard locale {worst.locale} stays within its limit of {limit}."
    everyone = "Both" if len(guards) == 2 else f"All {len(guards)}"
    return f"{everyone} guard locales stay within their limit of {limit}."


def gate_sentence(gate: Gate) -> str:
    """Return in one sentence whether an earlier evaluation's gate lets the model pass."""
    what = f"the gate against {gate.baseline}"
    if not gate.failed:
        return f"{what[0].upper()}{what[1:]} passes {gate.candidate}."
    lost = ", ".join(f"{each.what} ({points(each.delta, digits=1)} points)" for each in gate.failed)
    return f"{gate.candidate} fails {what}: {lost}."


def _clips_sentence(data: ReportData) -> str:
    """Return how many of the shown utterances can be heard, and what that costs."""
    if not data.clips:
        return ""
    shown = sum(len(group.examples) for group in data.examples)
    size = sum(len(clip) for clip in data.clips.values())
    said = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
    return f"{len(data.clips)} of {shown} can be heard: {said} of this file are their speech, as Opus."


def _tiles(data: ReportData) -> list[_Tile]:
    rows = data.rows
    wanted = [row for row in rows if row.role == "target"] or rows
    name = _rate_name(wanted)
    label = f"mean {name[0].lower()}{name[1:]}" + (", targets" if wanted[0].role == "target" else "")
    tiles = [_Tile(value=percent(_mean(wanted), digits=1), label=label)]
    if rows[0].tuned is not None:
        before, after = _mean(wanted, base=True), _mean(wanted)
        tiles = [_Tile(value=percent(after, digits=1), label=label, before=percent(before, digits=1))]
        if before:
            tiles.append(_Tile(value=points(after / before - 1, digits=0) + "%", label="relative change"))
    guards = [row for row in rows if row.within_limit is not None]
    if guards:
        worst = max(guards, key=_change)
        tone = "" if all(row.within_limit for row in guards) else "worse"
        text = f"points, worst guard ({worst.locale}); limit {points(data.policy.max_guard_loss, digits=1)}"
        tiles.append(_Tile(value=points(_change(worst), digits=1), label=text, tone=tone))
    if data.consumed_s:
        planned = f" of {audio_time(sum(data.planned_s.values()))} planned" if data.planned_s else ""
        value = audio_time(sum(data.consumed_s.values()))
        tone = "worse" if data.unused else ""
        tiles.append(_Tile(value=value, label=f"audio consumed{planned}", tone=tone))
    return tiles


def _chips(rows: Sequence[LocaleRow]) -> list[_Chip]:
    """A chip for each locale; of many locales, one for each that is a target or has changed."""
    judged = [(row, row.paired) for row in rows if row.paired]
    if len(judged) <= plots.MANY_ROWS:
        return [_chip(row, paired) for row, paired in judged]
    told = [
        (row, paired)
        for row, paired in judged
        if row.role == "target" or row.within_limit is False or paired.verdict != "no difference"
    ]
    # The worst are what a reader must not miss.
    told.sort(key=lambda each: (each[0].role != "target", -each[1].delta))
    chips = [_chip(row, paired) for row, paired in told]
    if rest := len(judged) - len(told):
        chips.append(_Chip(locale=counted(rest, "other locale"), text=" no difference", tone="no-difference"))
    return chips


def _chip(row: LocaleRow, paired: PairedResult) -> _Chip:
    verdict = paired.verdict
    text = f"{_GLYPHS[verdict]} {points(paired.delta, digits=1)} points"
    if row.within_limit is None:
        return _Chip(locale=row.locale, text=f"{text}, {verdict}", tone=verdict.replace(" ", "-"))
    if row.within_limit:
        return _Chip(locale=row.locale, text=f"{text}, guard within limit", tone="no-difference")
    return _Chip(locale=row.locale, text=f"{text}, guard beyond limit", tone="worse")


def _plots(data: ReportData, rows: Sequence[LocaleRow]) -> dict[str, Markup]:
    """Return the drawings for which there is data; the SVG writer has escaped their text."""
    limit, names = data.policy.max_guard_loss, list(data.reports)
    drawn = {"rates": plots.rate_plot(rows, names=names, max_guard_loss=limit)}
    if data.training_loss:
        drawn["loss"] = plots.loss_plot(data.training_loss)
    if data.curves:
        order = {tag: data.curves[tag] for row in rows if (tag := row.locale) in data.curves}
        drawn["latency"] = latency_plot(order, names=names)
    validation = {tag: curve for tag, curve in data.validation.items() if curve}
    if validation:
        drawn["validation"] = plots.validation_plot(validation, guards=data.policy.guards)
    if data.planned_s or data.consumed_s:
        drawn["audio"] = plots.audio_plot(planned_s=data.planned_s, consumed_s=data.consumed_s)
    return {name: Markup(svg) for name, svg in drawn.items()}


def _resampled(rows: Sequence[LocaleRow]) -> str:
    drawn = {score.resampled for row in rows for score in (row.base, row.tuned) if score}
    if drawn == {"speaker"}:
        return "speakers"
    # Only few test sets name their speakers; saying so is the least.
    note = "utterances and are somewhat too narrow where one speaker has several"
    return note if drawn == {"utterance"} else f"speakers where they are known, else {note}"


def _mean(rows: Sequence[LocaleRow], *, base: bool = False) -> float:
    return math.fsum((row.base if base else row.last).rate for row in rows) / len(rows)


def _change(row: LocaleRow) -> float:
    return row.last.rate - row.base.rate


def _rate_name(rows: Sequence[LocaleRow]) -> str:
    units = {row.unit for row in rows}
    return _RATE_NAMES[units.pop()] if len(units) == 1 else "Error rate (WER and CER)"


def _listed(rows: Sequence[LocaleRow]) -> str:
    tags = [row.locale for row in rows]
    if len(tags) > _MOST_NAMED:
        return counted(len(tags), "locale")
    return " and ".join([", ".join(tags[:-1]), tags[-1]] if tags[1:] else tags)
