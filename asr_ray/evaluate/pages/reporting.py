"""What an evaluation leaves for people: reports, tables in Markdown, model cards, an overview."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from asr_ray.evaluate.baseline import Baseline
from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.gate import Gate
from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages.clips import clips_of
from asr_ray.evaluate.pages.examples import choose_examples, examples_per_locale
from asr_ray.evaluate.pages.history import RunHistory
from asr_ray.evaluate.pages.latency import Curves, latency_curves
from asr_ray.evaluate.pages.markdown import report_markdown
from asr_ray.evaluate.pages.model_card import CardData, model_card
from asr_ray.evaluate.pages.overview import OverviewData, write_overview
from asr_ray.evaluate.pages.report import ReportData, write_report
from asr_ray.evaluate.results import Decoded
from asr_ray.evaluate.scoring.confusions import Confusions, confusions_of
from asr_ray.evaluate.scoring.normalise import NORMALISER_VERSION
from asr_ray.evaluate.scoring.paired import PairedResult, PromptComparison
from asr_ray.evaluate.scoring.score import EvalReport, Hypothesis
from asr_ray.evaluate.scoring.slices import Slices, slices_of
from asr_ray.evaluate.testsets import TestSet
from asr_ray.settings import CorpusSettings, EvaluateSettings

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Everything known about one condition.

    Attributes:
        out: folder of the condition.
        decoded, reports: by model, the base first.
        baseline, gate: None where nothing is compared.
    """

    condition: Condition
    out: Path
    decoded: Mapping[str, Decoded]
    reports: Mapping[str, EvalReport]
    paired: Sequence[PairedResult]
    policy: GuardPolicy
    baseline: Baseline | None
    gate: Gate | None

    @property
    def compared(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the ending of a file's name and the one or two models that it shows.

        A report shows two models; beyond the second, each candidate has one of its own.
        """
        base, *others = self.reports
        if not others:
            yield "", [base]
        for place, name in enumerate(others):
            yield ("" if place == 0 else f"-{name}"), [base, name]


def write_reports(
    settings: EvaluateSettings,
    scored: Sequence[Scored],
    *,
    models: Mapping[str, str],
    test_sets: Mapping[str, TestSet],
    prompts: Mapping[tuple[Condition, str], PromptComparison],
) -> None:
    """Write `report.html` and `report.md` of each condition, cards, and an overview of several conditions.

    Args:
        models: name -> file and digest, in words.
        prompts: (condition of the forced prompt, model) -> what `auto` costs.
    """
    created = datetime.now().astimezone()
    history = RunHistory.read(settings.run_dir)
    for each in scored:
        curves = _curves(each, scored)
        slices = {name: slices_of(result.rows) for name, result in each.decoded.items()}
        confusions = {name: confusions_of(result.rows) for name, result in each.decoded.items()}
        for ending, names in each.compared:
            data = _report_data(
                settings,
                each,
                names=names,
                created=created,
                history=history,
                curves=curves,
                slices={name: slices[name] for name in names},
                confusions={name: confusions[name] for name in names},
                facts=_facts(settings, each, models={name: models[name] for name in names}, history=history),
                test_set=test_sets[each.condition.data],
            )
            write_report(each.out / f"report{ending}.html", data=data)
            (each.out / f"report{ending}.md").write_text(report_markdown(data), encoding="utf-8")
    for ending, names in scored[0].compared:
        card = model_card(
            CardData(
                name=names[-1],
                base=names[0] if len(names) == 2 else None,
                files=models,
                base_model=settings.hub_base_model,
                conditions={each.condition: each.reports for each in scored},
                hours=history.hours_by_source,
                training=history.in_words,
            )
        )
        (settings.out / f"MODEL_CARD{ending}.md").write_text(card, encoding="utf-8")
    if len(scored) > 1:
        write_overview(
            settings.out / "report.html",
            data=OverviewData(
                created=created,
                reports={each.condition: each.reports for each in scored},
                gates={each.condition: each.gate for each in scored if each.gate},
                speeds={
                    each.condition: {name: result.rtfx for name, result in each.decoded.items()}
                    for each in scored
                },
                prompts=prompts,
            ),
        )


def _curves(one: Scored, scored: Sequence[Scored]) -> Curves:
    """Return error rates over the contexts of the conditions that differ from one in nothing else."""
    return latency_curves(
        {
            each.condition.att_context_size: each.reports
            for each in scored
            if each.condition.series == one.condition.series
        }
    )


def _report_data(
    settings: EvaluateSettings,
    scored: Scored,
    *,
    names: Sequence[str],
    created: datetime,
    history: RunHistory,
    curves: Curves,
    slices: Mapping[str, Slices],
    confusions: Mapping[str, Mapping[str, Confusions]],
    facts: Mapping[str, str],
    test_set: TestSet,
) -> ReportData:
    groups = choose_examples(
        _systems(scored, names),
        per_locale=examples_per_locale(len(scored.reports[names[0]].locales)),
    )
    max_bytes = int(settings.report_audio_mb * _MEGABYTE)
    ids = [example.id for group in groups for example in group.examples]
    return ReportData(
        title=" against ".join(reversed(names)),
        created=created,
        decoding=f"{scored.condition.data}: {scored.condition.in_words}, {scored.condition.prompt_in_words}",
        reports={name: scored.reports[name] for name in names},
        policy=scored.policy,
        paired=[result for result in scored.paired if result.candidate == names[-1]],
        gate=scored.gate if scored.gate and scored.gate.candidate == names[-1] else None,
        training_loss=history.losses,
        validation=history.validation,
        planned_s=history.planned_s,
        consumed_s=history.consumed_s,
        curves=curves,
        slices=slices,
        confusions=confusions,
        examples=groups,
        clips=clips_of(ids, test_set=test_set, max_bytes=max_bytes) if max_bytes else {},
        facts=facts,
    )


def _systems(scored: Scored, names: Sequence[str]) -> list[tuple[str, Sequence[Hypothesis]]]:
    """Return whose transcripts are shown; a model that was decoded alone stands beside its baseline."""
    systems: list[tuple[str, Sequence[Hypothesis]]] = [(name, scored.decoded[name].rows) for name in names]
    earlier = scored.baseline
    if len(names) == 1 and earlier and earlier.rows and len(earlier.rows) == len(systems[0][1]):
        systems.insert(0, (f"{earlier.model}, earlier", earlier.rows))
    return systems


def _facts(
    settings: EvaluateSettings, scored: Scored, *, models: Mapping[str, str], history: RunHistory
) -> dict[str, str]:
    condition, source = scored.condition, settings.data[scored.condition.data]
    facts = {f"model {name}": model for name, model in models.items()}
    facts |= {
        "decoding": condition.in_words,
        "prompt": condition.prompt,
        "data": source.path if isinstance(source, CorpusSettings) else str(source),
        "normaliser": NORMALISER_VERSION,
        "bootstrap seed": str(settings.seed),
        "machine": f"{platform.system()} {platform.machine()}, {'GPU' if settings.use_gpu else 'CPU'}",
        "audio per second of an actor": ", ".join(
            f"{name} {scored.decoded[name].rtfx:.4g} s" for name in models
        ),
    }
    if settings.compare:
        facts["compared with"] = str(settings.compare.baseline)
    if history.in_words:
        facts["training"] = history.in_words
    return facts
