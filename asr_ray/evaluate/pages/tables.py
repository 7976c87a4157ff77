"""One model, or two side by side, locale by locale: for the terminal, for Markdown, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from asr_ray.errors import ConfigError
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.scoring.paired import PairedResult
from asr_ray.evaluate.scoring.score import EvalReport, LocaleScore
from asr_ray.locales import Unit
from asr_ray.report.numbers import percent

Role = Literal["target", "guard", "other"]
"""What a run wants of a locale: get better, not get worse, nothing."""

_UNBOUNDED = 1000
"""Columns in which any table has room."""

_VERDICT_STYLES = {"better": "green", "worse": "bold red", "no difference": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleRow:
    """One locale of a comparison.

    Attributes:
        base: score of the only model, or of the one compared against.
        tuned: score of the second model; None when there is only one.
        paired: the test on the same utterances; None when there is only one model.
        within_limit: for guards of a comparison, whether the loss is allowed; None otherwise.
    """

    locale: str
    role: Role
    base: LocaleScore
    tuned: LocaleScore | None = None
    paired: PairedResult | None = None
    within_limit: bool | None = None

    @property
    def unit(self) -> Unit:
        """WER or CER."""
        return self.base.unit

    @property
    def last(self) -> LocaleScore:
        """Score of the newest model."""
        return self.tuned or self.base


def locale_rows(
    reports: Mapping[str, EvalReport], *, paired: Sequence[PairedResult] = (), policy: GuardPolicy
) -> list[LocaleRow]:
    """Line up one or two models: targets first, then guards, then the rest, each in the order given.

    Raises:
        ConfigError: there are not one or two models, or they were scored on different locales.
    """
    if len(reports) not in (1, 2):
        raise ConfigError(
            f"a comparison shows one or two models, not {len(reports)}", fix="compare them pair by pair"
        )
    base, *others = reports.values()
    if others and others[0].locales.keys() != base.locales.keys():
        raise ConfigError(
            f"{' and '.join(reports)} were scored on different locales",
            fix="evaluate both models on the same test set",
        )
    tests = {result.locale: result for result in paired}
    wanted = [tag for tag in (*policy.targets, *policy.guards) if tag in base.locales]
    ordered = [*wanted, *(tag for tag in base.locales if tag not in wanted)]
    tuned = others[0].locales if others else {}
    return [_row(tag, base.locales[tag], tuned.get(tag), tests.get(tag), policy) for tag in ordered]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The comparison for a terminal or a log, as wide as there is room.

    Attributes:
        names: of the one or two models, as column heads.
    """

    rows: Sequence[LocaleRow]
    names: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw all of it, or only what fits: in 80 columns, rates without intervals."""
        whole = self._drawn(with_intervals=True)
        fits = whole.__rich_measure__(console, options.update(width=_UNBOUNDED)).maximum <= options.max_width
        yield whole if fits else self._drawn(with_intervals=False)

    def _drawn(self, *, with_intervals: bool) -> Table:
        said = "normalised, 95% confidence interval" if with_intervals else "normalised"
        table = Table(
            title=f"Error rate per locale, {said}",
            title_justify="left",
            box=box.HEAVY_HEAD if with_intervals else box.SIMPLE_HEAD,
        )
        table.add_column("locale", style="bold", no_wrap=True)
        table.add_column("role", style="dim")
        table.add_column("unit")
        for head in (*(("utterances",) if with_intervals else ()), *self.names):
            table.add_column(head, justify="right")
        if len(self.names) == 2:
            table.add_column("change", justify="right")
            table.add_column("verdict")
        for row in self.rows:
            table.add_row(*self._cells(row, with_intervals=with_intervals))
        return table

    def _cells(self, row: LocaleRow, *, with_intervals: bool) -> list[str | Text]:
        rate = rate_and_interval if with_intervals else _rate
        cells: list[str | Text] = [row.locale, role_label(row), row.unit.upper()]
        cells += [f"{row.base.utterances:,}"] if with_intervals else []
        cells.append(rate(row.base))
        if row.tuned:
            cells += [rate(row.tuned), points(row.tuned.rate - row.base.rate), _verdict(row)]
        return cells


def markdown_table(rows: Sequence[LocaleRow], *, names: Sequence[str]) -> str:
    """Return the comparison as a Markdown table, ending with a line break.

    Args:
        names: of the one or two models, as Markdown.
    """
    heads = ["locale", "role", "unit", "utterances", *names]
    heads += ["change", "95% CI", "verdict"] if len(names) == 2 else []
    lines = [heads, ["---"] * 3 + ["---:"] * (len(heads) - 3)]
    for row in rows:
        cells = [row.locale, role_label(row), row.unit.upper(), f"{row.base.utterances:,}"]
        cells.append(percent(row.base.rate))
        if row.tuned:
            low, high = row.paired.ci95 if row.paired else (None, None)
            interval = "" if low is None or high is None else f"{points(low)} to {points(high)}"
            cells += [percent(row.tuned.rate), points(row.tuned.rate - row.base.rate), interval]
            cells.append(str(_verdict(row)))
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def points(delta: float, *, digits: int = 2) -> str:
    """Return a difference of rates in percentage points with its sign: -0.0123 -> "−1.23"."""
    value = round(100 * delta, digits)
    sign = "+" if value > 0 else "\u2212" if value < 0 else "±"
    return f"{sign}{abs(value):.{digits}f}"


def rate_and_interval(score: LocaleScore) -> str:
    """Return "12.34% [11.80, 12.90]"."""
    low, high = score.ci95
    return f"{percent(score.rate)} [{100 * low:.2f}, {100 * high:.2f}]"


def _rate(score: LocaleScore) -> str:
    return percent(score.rate)


def role_label(row: LocaleRow) -> str:
    """Return the role, or nothing for locales without one."""
    return "" if row.role == "other" else row.role


def _verdict(row: LocaleRow) -> Text:
    verdict = row.paired.verdict if row.paired else ""
    label = Text(verdict, style=_VERDICT_STYLES.get(verdict, ""))
    if row.within_limit is False:
        label.append(" (beyond limit)", style="bold red")
    return label


def _row(
    tag: str,
    base: LocaleScore,
    tuned: LocaleScore | None,
    paired: PairedResult | None,
    policy: GuardPolicy,
) -> LocaleRow:
    role: Role = "target" if tag in policy.targets else "guard" if tag in policy.guards else "other"
    within = None
    if role == "guard" and tuned:
        within = tuned.rate - base.rate <= policy.max_guard_loss
    return LocaleRow(locale=tag, role=role, base=base, tuned=tuned, paired=paired, within_limit=within)
