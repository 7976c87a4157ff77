"""A card that the Hub's own classes read back, with every score in it."""

from __future__ import annotations

from huggingface_hub import ModelCard

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.pages.model_card import CardData, model_card
from asr_ray.evaluate.scoring.score import score_pairs
from asr_ray.testing.transcripts import made_up_hypotheses

CONDITIONS = [
    Condition(data="fleurs", att_context_size=context, mode="streaming", prompt="locale")
    for context in ((56, 0), (56, 13))
]


def card(**changes: object) -> str:
    rows = made_up_hypotheses(20, noise=0.2) + made_up_hypotheses(20, noise=0.2, locale="ja-JP")
    reports = {"base": score_pairs(rows), "tuned": score_pairs(rows)}
    values: dict[str, object] = {
        "name": "tuned",
        "base": "base",
        "files": {"base": "base.nemo", "tuned": "best.nemo, sha256 12"},
        "base_model": "nvidia/nemotron-3.5-asr-streaming-0.6b",
        "conditions": dict.fromkeys(CONDITIONS, reports),
        "hours": {"el-GR/ra|dio": 2.5, "el-GR/<script>": 30.25},
        "training": "450 steps",
    }
    return model_card(CardData(**values | changes))  # type: ignore[arg-type]


def test_the_hub_reads_every_score() -> None:
    parsed = ModelCard(card())
    # Raises where the front matter is not what the Hub takes; a network is not asked.
    assert parsed.data.base_model == "nvidia/nemotron-3.5-asr-streaming-0.6b"
    assert parsed.data.language == ["el", "ja"]
    assert parsed.data.pipeline_tag == "automatic-speech-recognition"
    results = parsed.data.eval_results
    assert results is not None
    assert {(each.dataset_config, each.metric_type) for each in results} == {
        ("el-GR", "wer"),
        ("ja-JP", "cer"),
    }
    # Two contexts of one locale are two metrics, each of which says how it was decoded.
    assert len(results) == len({(each.dataset_config, each.metric_name) for each in results}) == 4
    assert all("streaming, context [56, " in str(each.metric_name) for each in results)
    assert all(0 < each.metric_value < 100 for each in results)


def test_sources_stand_by_hours_and_are_plain_text() -> None:
    text = card()
    assert "<script" not in text
    assert text.index("30.25") < text.index("2.50")
    assert "| el-GR | ra\\|dio | 2.50 |" in text
    assert "450 steps" in text


def test_nothing_is_claimed_that_is_not_known() -> None:
    text = card(base=None, base_model=None, hours={}, training="")
    assert "base_model" not in text
    assert "Fine-tuned from" not in text
    assert "Nothing is known here of how it was trained" in text
    assert "license:" not in text
    assert len(ModelCard(text).data.eval_results or []) == 4
