"""A card for the Hugging Face Hub: what the model was made of, and its scores as a model index.

Front matter and index are built by huggingface_hub's own classes; text is Markdown. What is not known
(license, data sets on the Hub) is left for whoever publishes the model, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.pages.markdown import plain, table
from asr_ray.evaluate.pages.tables import points, rate_and_interval
from asr_ray.evaluate.scoring.normalise import NORMALISER_VERSION
from asr_ray.evaluate.scoring.score import EvalReport, LocaleScore

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TASK = "automatic-speech-recognition"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardData:
    """What a card says of a model.

    Attributes:
        name: of the model among those evaluated.
        base: name of the model it is compared with; None where it stands alone.
        files: model -> file and digest, in words.
        base_model: id on the Hub; None where it is not known.
        conditions: condition -> model -> scores.
        hours: `locale/source` -> hours of audio trained on; empty where not known.
        training: the run in one sentence; "" where not known.
    """

    name: str
    base: str | None
    files: Mapping[str, str]
    base_model: str | None
    conditions: Mapping[Condition, Mapping[str, EvalReport]]
    hours: Mapping[str, float]
    training: str


def model_card(data: CardData) -> str:
    """Return the card as Markdown with its front matter."""
    from huggingface_hub import ModelCardData

    locales = list(next(iter(data.conditions.values()))[data.name].locales)
    units = {reports[data.name].locales[tag].unit for reports in data.conditions.values() for tag in locales}
    front = ModelCardData(
        model_name=data.name,
        base_model=data.base_model,
        language=list(dict.fromkeys(tag.partition("-")[0] for tag in locales)),
        library_name="nemo",
        pipeline_tag=_TASK,
        tags=["speech", "streaming", "FastConformer", "RNNT", "asr-ray"],
        metrics=sorted(units),
        eval_results=[
            _result(condition, locale, score)
            for condition, reports in data.conditions.items()
            for locale, score in reports[data.name].locales.items()
        ],
    )
    return f"---\n{front.to_yaml().strip()}\n---\n\n{_body(data)}"


def _result(condition: Condition, locale: str, score: LocaleScore) -> EvalResult:
    from huggingface_hub import EvalResult

    # The Hub groups results by task, data set, configuration and split, and takes the arguments of a data
    # set from the first of a group: how it was decoded therefore belongs to the metric.
    return EvalResult(
        task_type=_TASK,
        task_name="Automatic Speech Recognition",
        dataset_type=condition.data,
        dataset_name=f"{condition.data} ({locale})",
        dataset_config=locale,
        dataset_split="test",
        metric_type=score.unit,
        metric_value=round(100 * score.rate, 2),
        metric_name=f"{score.unit.upper()}, normalised, {condition.in_words}, prompt {condition.prompt}",
        metric_args={
            "ci95": [round(100 * end, 2) for end in score.ci95],
            "utterances": score.utterances,
            "normaliser": NORMALISER_VERSION,
        },
    )


def _body(data: CardData) -> str:
    parts = [f"# {plain(data.name)}\n"]
    if data.base_model:
        parts.append(f"Fine-tuned from {plain(data.base_model)}.\n")
    parts.append(
        "Streaming speech recognition with a language prompt: name the locale, or let the model find it "
        "(`auto`).\n"
    )
    parts.append(f"File: {plain(data.files[data.name])}\n")
    if data.base:
        parts.append(f"Compared below with {plain(data.base)}: {plain(data.files[data.base])}\n")
    parts.append("License: that of the base model binds; name it here before publishing.\n")
    parts.append(f"## Training\n\n{_training(data)}")
    parts.append("## Evaluation\n")
    parts += [_scores(condition, reports, data) for condition, reports in data.conditions.items()]
    parts.append(
        f"Error rates are summed edits over summed reference tokens, normalised (asr-ray, version "
        f"{NORMALISER_VERSION}), in brackets a 95% bootstrap interval. WER counts words, CER characters.\n"
    )
    return "\n".join(parts)


def _training(data: CardData) -> str:
    if not data.hours:
        return "Nothing is known here of how it was trained.\n"
    rows = [
        [plain(locale), plain(source), f"{hours:,.2f}"]
        for key, hours in sorted(data.hours.items(), key=lambda item: -item[1])
        for locale, _, source in [key.partition("/")]
    ]
    said = f"{plain(data.training)}.\n\n" if data.training else ""
    return said + table(["locale", "source", "hours, repetitions counted"], rows, num_left=2)


def _scores(condition: Condition, reports: Mapping[str, EvalReport], data: CardData) -> str:
    heads = ["locale", "unit", "utterances", *([plain(data.base)] if data.base else []), plain(data.name)]
    rows = []
    for locale, score in reports[data.name].locales.items():
        cells = [locale, score.unit.upper(), f"{score.utterances:,}"]
        if data.base:
            before = reports[data.base].locales[locale]
            cells.append(rate_and_interval(before))
            cells += [rate_and_interval(score), points(score.rate - before.rate)]
        else:
            cells.append(rate_and_interval(score))
        rows.append(cells)
    heads += ["change, points"] if data.base else []
    title = f"{plain(condition.data)}: {plain(condition.in_words)}, {condition.prompt_in_words}"
    return f"### {title}\n\n" + table(heads, rows, num_left=2)
