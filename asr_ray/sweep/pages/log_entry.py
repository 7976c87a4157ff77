"""The decision as an entry for a log of experiments, in Markdown."""

from __future__ import annotations

from asr_ray.evaluate.pages.markdown import plain, table
from asr_ray.report.numbers import counted, percent
from asr_ray.sweep.deciding.advice import MORE_HOURS, Gain
from asr_ray.sweep.deciding.candidates import Candidate
from asr_ray.sweep.deciding.conclude import Conclusion
from asr_ray.sweep.deciding.wording import short_key, signed
from asr_ray.sweep.pages.report import cells_of, columns_of, headline

_MOST_ROWS = 12


def log_entry(conclusion: Conclusion) -> str:
    """Return question, result, table, advice and the command to go on."""
    decision, sweep = conclusion.decision, conclusion.sweep
    searched = ", ".join(short_key(each.key) for each in sweep.space)
    parts = [
        f"# Sweep {plain(str(sweep.settings.out))}\n",
        f"**{plain(headline(conclusion))}**\n",
        f"Searched: {plain(searched)} ({sweep.settings.search}), "
        f"{counted(len(conclusion.records), 'trial')}. Judged on the {decision.judged} set; targets "
        f"{', '.join(conclusion.policy.targets)}, guards {', '.join(conclusion.policy.guards) or 'none'}.\n",
        f"{plain(decision.reason)}\n",
        _ranking(conclusion),
    ]
    if len(decision.candidates) > _MOST_ROWS:
        parts.append(f"{len(decision.candidates) - _MOST_ROWS} more are in decision.json.\n")
    if conclusion.advice:
        parts.append(_advice(conclusion))
    if decision.fidelity:
        ranks = ", ".join(f"step {each.step:,}: {each.spearman:.2f}" for each in decision.fidelity)
        parts.append(f"Rank correlation of the rungs with the end: {ranks}.\n")
    parts += [f"Caution: {plain(warning)}.\n" for warning in decision.warnings]
    parts.append(f"To train on:\n\n```\n{decision.command}\n```\n")
    return "\n".join(parts)


def _ranking(conclusion: Conclusion) -> str:
    columns = [group or short_key(key) for key, group in columns_of(conclusion)]
    locales = [*conclusion.policy.targets, *conclusion.policy.guards]
    heads = ["trial", *map(plain, columns), *locales, "objective", "95% CI", "verdict"]
    shown_ones = conclusion.decision.candidates[:_MOST_ROWS]
    rows = [
        [
            plain(each.name),
            *map(plain, cells_of(conclusion, each)),
            *(percent(each.rates[tag]) for tag in locales),
            signed(each.objective),
            f"{signed(each.ci95[0])} to {signed(each.ci95[1])}" if each.ci95 else "",
            _verdict(each, winner=conclusion.decision.winner),
        ]
        for each in shown_ones
    ]
    return table(heads, rows)


def _verdict(each: Candidate, *, winner: str) -> str:
    if each.name == winner:
        return "**chosen**"
    if each.broken:
        return f"breaks {', '.join(each.broken)}"
    if not each.is_eligible:
        return "one look only"
    return "tied" if each.is_tied else "behind"


def _advice(conclusion: Conclusion) -> str:
    rows = [
        [
            each.locale,
            f"{each.hours:.3g}",
            f"{each.passes:.1f}",
            _gain(each.more_hours),
            f"{_gain(each.more_share)} at {percent(each.wider_share, digits=0)}",
        ]
        for each in conclusion.advice
    ]
    heads = ["target", "hours", "passes", f"{MORE_HOURS:g} x hours", "larger share"]
    return "Expected change of the error rate, relative:\n\n" + table(heads, rows)


def _gain(gain: Gain) -> str:
    low, high = gain.ci95
    return f"{percent(gain.change, digits=1)} ({percent(low, digits=1)} to {percent(high, digits=1)})"
