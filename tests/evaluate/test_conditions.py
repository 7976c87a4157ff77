"""Every combination is scored, each in a folder of its own; one alone keeps the plain layout."""

from __future__ import annotations

from pathlib import Path

from asr_ray.evaluate.conditions import conditions_of
from asr_ray.settings import EvaluateSettings

ONE = {"models": {"base": "tiny"}, "data": "data/test", "out": "out"}


def test_one_condition_lies_where_programs_look_for_it() -> None:
    [(condition, out)] = conditions_of(EvaluateSettings.model_validate(ONE)).items()
    assert out == Path("out")
    assert (condition.data, condition.att_context_size) == ("test", (56, 3))
    assert condition.in_words == "offline, context [56, 3]: chunks of 320 ms, fp32"


def test_several_have_a_folder_each() -> None:
    settings = EvaluateSettings.model_validate(
        ONE
        | {
            "data": {"fleurs": "f", "radio": "r"},
            "att_context_size": [[56, 0], [56, 13]],
            "mode": ["offline", "streaming"],
            "prompt": ["locale", "auto"],
            "precision": "bf16",
            "tags": "keep",
        }
    )
    conditions = conditions_of(settings)
    assert len(conditions) == 16 == len(set(conditions.values()))
    assert Path("out/radio/56-13-streaming-auto") in conditions.values()
    assert all(each.precision == "bf16" and each.keep_tags for each in conditions)
