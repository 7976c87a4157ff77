"""One HTML file that tells what speech there is and what is wrong with it: readable offline and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from asr_ray.data.checks import plots
from asr_ray.data.checks.advice import advice_of, remedy_of
from asr_ray.data.checks.findings import Findings, write_quarantine
from asr_ray.data.checks.quarantine import Tally
from asr_ray.data.checks.summary import QUARANTINE, REPORT
from asr_ray.records import Reason
from asr_ray.report.numbers import audio_time, counted, listed, percent
from asr_ray.report.page import render_page
from asr_ray.settings import CheckDataSettings

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    value: str
    label: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A row of the table of what is there twice."""

    what: str
    rows: int
    outcome: str
    is_severe: bool = False


def write_findings(folder: Path, findings: Findings) -> None:
    """Write summary, quarantine and report into a folder."""
    write_quarantine(folder / QUARANTINE, findings.rejected)
    findings.summary.write(folder)
    write_data_report(folder / REPORT, findings)


def write_data_report(path: Path, findings: Findings) -> None:
    """Write the report as one HTML file."""
    path.write_text(render_data_report(findings, created=datetime.now()), encoding="utf-8")


def render_data_report(findings: Findings, *, created: datetime) -> str:
    """Return the report as HTML; sections without data are left out."""
    return render_page(
        "report.html",
        package=__package__,
        title=_title(findings),
        created=created,
        findings=findings,
        headline=headline(findings),
        tiles=_tiles(findings),
        advice=advice_of(findings),
        plots=_plots(findings),
        legend=plots.legend(plots.colour_of_source(findings.summary.prepared)),
        tallies=_worst_first(findings.tallies),
        reasons=findings.reasons,
        remedy_of=remedy_of,
        twice=_twice(findings),
        facts=_facts(findings),
        num_rows=_num_rows(findings),
    )


def headline(findings: Findings) -> str:
    """Return in one sentence whether the speech can be used."""
    limit = findings.settings.checks.max_rejected_share
    above = [each.name for each in findings.tallies if each.faulty_share > limit]
    if not findings.summary.utterances:
        return "No row of the corpora can be used."
    if above:
        return f"Too many rows of {_listed(above)} are faulty to train on this."
    locales = counted(len(findings.profile.locales), "locale")
    speech = f"{audio_time(findings.summary.hours * 3600)} of speech in {locales}"
    if findings.error is not None:
        return f"{speech}, but some of it is held out for judging."
    return f"{speech} can be trained on."


def _title(findings: Findings) -> str:
    settings = findings.settings
    if isinstance(settings, CheckDataSettings) and settings.data is not None:
        return str(findings.summary.out)
    return ", ".join(dict.fromkeys(corpus.source for corpus in settings.corpora))


def _num_rows(findings: Findings) -> int:
    return findings.summary.utterances + findings.summary.num_rejected


def _tiles(findings: Findings) -> list[_Tile]:
    summary, overlaps = findings.summary, findings.summary.overlaps
    share = summary.num_rejected / max(_num_rows(findings), 1)
    tiles = [
        _Tile(value=audio_time(summary.hours * 3600), label="of speech accepted"),
        _Tile(value=f"{summary.utterances:,}", label=_noun(summary.utterances, "utterance") + " accepted"),
        _Tile(
            value=f"{summary.num_rejected:,}",
            label=f"{_noun(summary.num_rejected, 'row')} put aside, {percent(share, digits=1)} of all",
            tone="worse" if any(_is_above_limit(each, findings) for each in findings.tallies) else "",
        ),
    ]
    if findings.settings.held_out:
        kept = overlaps.held_out_audio_rows
        left_out = _rows_of(findings, Reason.IN_HELD_OUT_AUDIO)
        label = _noun(kept + left_out, "row") + " of held-out speech"
        label += f", {kept:,} of them kept" if kept else ", left out" if left_out else ""
        tiles.append(_Tile(value=f"{kept + left_out:,}", label=label, tone="worse" if kept else ""))
    else:
        tiles.append(_Tile(value=f"{overlaps.repeated_texts:,}", label="texts that many rows repeat"))
    return tiles


def _twice(findings: Findings) -> list[_Line]:
    """What is there twice and what became of it; lines that count nothing are left out."""
    overlaps, more_than = findings.summary.overlaps, findings.settings.checks.max_text_repeats
    put_aside = (
        (Reason.DUPLICATE_ID, "The id of an earlier row"),
        (Reason.DUPLICATE_AUDIO, "The audio of an earlier row"),
        (Reason.IN_HELD_OUT_AUDIO, "Audio of held-out speech"),
        (Reason.IN_HELD_OUT_TEXT, "Words of held-out speech"),
    )
    lines = [
        _Line(what=what, rows=_rows_of(findings, reason), outcome="put aside") for reason, what in put_aside
    ]
    lines += [
        _Line(what="The audio of an earlier row", rows=overlaps.same_audio_rows, outcome="kept"),
        _Line(
            what="Audio of held-out speech",
            rows=overlaps.held_out_audio_rows,
            outcome="kept",
            is_severe=True,
        ),
        _Line(what="Words of held-out speech", rows=overlaps.held_out_text_rows, outcome="kept"),
        _Line(
            what=f"Words that more than {more_than} rows of a locale and source say",
            rows=overlaps.repeated_rows,
            outcome="kept",
        ),
    ]
    return [line for line in lines if line.rows]


def _plots(findings: Findings) -> dict[str, Markup]:
    """Return the drawings; empty without accepted speech. The SVG writer has escaped their text."""
    if not findings.summary.utterances:
        return {}
    return {
        "hours": Markup(plots.hours_plot(findings.summary.prepared)),
        "durations": Markup(plots.duration_plot(findings.profile.histogram)),
        "density": Markup(plots.density_plot(findings.profile.locales)),
    }


def _facts(findings: Findings) -> dict[str, str]:
    settings, summary = findings.settings, findings.summary
    checks = settings.checks.model_dump()
    changed = {name: value for name, value in checks.items() if name in settings.checks.model_fields_set}
    facts = {f"corpus {corpus.source}": f"{corpus.path} ({corpus.format})" for corpus in settings.corpora}
    facts["folder"] = str(summary.out)
    if settings.held_out:
        facts["held out"] = ", ".join(map(str, settings.held_out))
    facts["limit of faulty rows"] = f"{percent(settings.checks.max_rejected_share, digits=1)} per locale"
    if changed:
        facts["checks that were set"] = ", ".join(f"{name} {value}" for name, value in changed.items())
    facts["tokenizer (sha256)"] = summary.tokenizer_digest[:16]
    facts["inputs (sha256)"] = summary.inputs_digest[:16]
    return {name: value for name, value in facts.items() if value}


def _worst_first(tallies: Sequence[Tally]) -> list[Tally]:
    return sorted(tallies, key=lambda each: (-each.faulty_share, -each.num_rejected, each.name))


def _is_above_limit(each: Tally, findings: Findings) -> bool:
    return each.faulty_share > findings.settings.checks.max_rejected_share


def _rows_of(findings: Findings, reason: Reason) -> int:
    return sum(each.reasons.get(reason, 0) for each in findings.tallies)


def _noun(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} locales" if len(names) > _MOST_NAMED else listed(names)
