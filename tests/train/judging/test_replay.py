"""Replay that was asked for: how much of it was consumed, and whether any was."""

from __future__ import annotations

import pytest

from asr_ray.settings import MixSettings
from asr_ray.train.judging.replay import never_heard, replay_locales, replay_of

MIX = MixSettings.model_validate(
    {
        "replay": {"share": 0.3, "locales": ["en-US", "es-ES"]},
        "schedule": [{"from_step": 9, "replay": {"share": 0.1, "locales": ["de-DE", "en-US"]}}],
    }
)
CONSUMED = {"el-GR/radio": 70.0, "en-US/books": 12.0, "en-US/radio": 8.0}


def test_every_part_of_a_run_counts() -> None:
    assert replay_locales(MIX) == ["en-US", "es-ES", "de-DE"]
    assert replay_locales(MixSettings()) == []


def test_what_was_asked_for_stands_beside_what_was_consumed() -> None:
    found = replay_of(MIX, consumed_s=CONSUMED, planned_s={"en-US/books": 20.0, "es-ES/radio": 10.0})
    assert found == {
        "en-US": {"consumed_s": pytest.approx(20.0), "planned_s": 20.0},
        "es-ES": {"consumed_s": 0.0, "planned_s": 10.0},
        "de-DE": {"consumed_s": 0.0, "planned_s": 0.0},
    }
    assert never_heard(MIX, consumed_s=CONSUMED) == ["es-ES", "de-DE"]
