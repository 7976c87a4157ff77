"""The record that goes with an exported model: what it is, what it was made of, what it was measured at.

Pure: a record is a tree of plain values, and the card is that record for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr_ray.evaluate.pages.markdown import plain, table
from asr_ray.report.numbers import percent

SCHEMA = 1

Tree = Mapping[str, Any]

_USAGE = """\
from nemo.collections.asr.models import ASRModel

model = ASRModel.restore_from({file!r}, map_location="cpu").eval()
model.encoder.set_default_att_context_size({context})
model.set_inference_prompt({locale!r})
"""


def usage(*, file: str, context: Sequence[int], locale: str) -> str:
    """Return how stock NeMo loads the model, ready for `conformer_stream_step`."""
    return _USAGE.format(file=file, context=list(context), locale=locale)


def scores_of(document: Tree, *, model: str) -> dict[str, Any]:
    """Return what a record keeps of one condition of a `metrics.json`."""
    scores = document["models"][model]["locales"]
    kept = ("unit", "rate", "ci95", "utterances", "tokens")
    return {
        "data": document.get("data", ""),
        "context": document["context"],
        "mode": document["mode"],
        "prompt": document["prompt"],
        "precision": document.get("precision", "fp32"),
        "normaliser": document["normaliser"],
        "locales": {tag: {name: score[name] for name in kept} for tag, score in scores.items()},
    }


def card(record: Tree) -> str:
    """Return a record as Markdown."""
    model, base, made_of = record["model"], record["base"], record["made_of"]
    steps = " and ".join(f"{step:,}" for step in made_of["steps"])
    parts = [
        f"# {plain(record['name'])}\n",
        f"A streaming speech recogniser with a language prompt, fine-tuned from {plain(base['name'])} "
        f"(sha256 `{base['sha256']}`).\n",
        table(
            ["", ""],
            [
                ["file", f"`{model['file']}`, {model['bytes']:,} bytes"],
                ["sha256", f"`{model['sha256']}`"],
                ["class", f"`{model['class']}`"],
                ["weights", f"{'mean of steps' if len(made_of['steps']) > 1 else 'step'} {steps}"],
                ["vocabulary", f"{model['vocabulary_size']:,} pieces"],
                ["att_context_size", f"`{model['att_context_sizes']}`, {_trained_contexts(record)}"],
                ["prompts", f"{len(model['prompts'])} names in {model['num_prompts']} slots, listed below"],
                ["training", _training(record)],
                ["versions", ", ".join(f"{name} {number}" for name, number in record["versions"].items())],
            ],
            num_left=2,
        ),
        "License: that of the base model binds; name it here before publishing.\n",
        f"## Use\n\n```python\n{record['usage']}```\n",
        "Then feed audio by `conformer_stream_step`, or by NeMo's "
        "`speech_to_text_cache_aware_streaming_infer.py` with `target_lang`. `transcribe()` of NeMo 3.0 does "
        "not pass the language on to the model; do not judge it by that.\n",
        f"## Training data\n\n{_hours(record)}",
        f"## Validation during training\n\n{_validation(record)}",
        f"## Evaluation\n\n{_evaluation(record)}",
        f"## Prompts\n\n{_prompts(model['prompts'])}",
    ]
    return "\n".join(parts)


def _trained_contexts(record: Tree) -> str:
    trained = record["configuration"]["model"].get("att_context_sizes")
    return f"tuned with `{trained}` alone" if trained else "tuned with all of them"


def _training(record: Tree) -> str:
    settings, made_of = record["configuration"], record["made_of"]
    workers = settings["resources"]["num_workers"]
    workers = workers if isinstance(workers, list) else [workers]
    parts = [
        f"{made_of['steps'][-1]:,} of {settings['max_steps']:,} updates",
        f"{' to '.join(map(str, workers))} {'rank' if workers == [1] else 'ranks'}",
        f"peak learning rate {settings['optim']['peak_lr']:g}",
        f"frozen: {settings['model']['freeze']}",
    ]
    if made_of["merged_adapters"]:
        parts.append(f"{made_of['merged_adapters']} adapters merged")
    return ", ".join(parts)


def _hours(record: Tree) -> str:
    hours: Mapping[str, float] = record["consumed_hours"]
    if not hours:
        return "Not known: the checkpoint that would say it is gone.\n"
    rows = [
        [plain(locale), plain(source), f"{value:,.2f}"]
        for key, value in sorted(hours.items(), key=lambda item: -item[1])
        for locale, _, source in [key.partition("/")]
    ]
    return table(["locale", "source", "hours, repetitions counted"], rows, num_left=2)


def _validation(record: Tree) -> str:
    found = record["validation"]
    if found["model"] is None:
        return "These weights were not validated.\n"
    settings = record["configuration"]["validation"]
    rows = [
        [plain(tag), _role(tag, settings), percent(found["base"][tag]["rate"]), percent(score["rate"])]
        for tag, score in found["model"].items()
    ]
    said = (
        f"On {settings['utterances_per_locale']} utterances per locale at most, context "
        f"{settings['att_context_size']}; the checkpoint was chosen by these figures, so they flatter it.\n\n"
    )
    return said + table(["locale", "role", "base", "this model"], rows, num_left=2)


def _role(tag: str, settings: Tree) -> str:
    return "target" if tag in settings["targets"] else "guard"


def _evaluation(record: Tree) -> str:
    if not record["evaluation"]:
        return "None on record: evaluate this file, then export again with `evaluation` set.\n"
    parts = []
    for found in record["evaluation"]:
        rows = [
            [
                plain(tag),
                score["unit"].upper(),
                f"{score['utterances']:,}",
                percent(score["rate"]),
                " to ".join(percent(end) for end in score["ci95"]),
            ]
            for tag, score in found["locales"].items()
        ]
        told = "language told" if found["prompt"] == "locale" else "language found by the model"
        parts.append(
            f"{plain(found['data'])}: {found['mode']}, context {found['context']}, {found['precision']}, "
            f"{told}, normaliser {found['normaliser']}.\n\n"
            + table(["locale", "unit", "utterances", "error rate", "95% interval"], rows, num_left=2)
        )
    return "\n".join(parts)


def _prompts(slots: Mapping[str, int]) -> str:
    by_slot: dict[int, list[str]] = {}
    for name, slot in slots.items():
        by_slot.setdefault(slot, []).append(name)
    rows = [[str(slot), ", ".join(f"`{name}`" for name in names)] for slot, names in sorted(by_slot.items())]
    return table(["slot", "names"], rows, num_left=2)
