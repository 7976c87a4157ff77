"""Evaluation end to end on a real Ray: every utterance scored once, files in the shape of the contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr_ray.errors import DataError
from asr_ray.evaluate.run import run_evaluation
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings
from asr_ray.testing.prepared import write_prepared

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, micro_nemo: Path) -> EvaluateSettings:
    """One random model under two names, on noise."""
    root = tmp_path_factory.mktemp("evaluation")
    counts = {("el-GR", "noise"): 5, ("ja-JP", "noise"): 4}
    write_prepared(root / "test", counts, tokenizer=NemoTokenizer.from_nemo(micro_nemo))
    return EvaluateSettings(
        models={"base": str(micro_nemo), "tuned": str(micro_nemo)}, data=root / "test", out=root / "out"
    )


@pytest.mark.usefixtures("ray_cluster")
def test_every_utterance_is_scored_once_by_each_model(settings: EvaluateSettings) -> None:
    result = run_evaluation(settings)
    for model in ("base", "tuned"):
        lines = (settings.out / model / "results.jsonl").read_text(encoding="utf-8").splitlines()
        ids = [json.loads(line)["id"] for line in lines]
        assert len(ids) == len(set(ids)) == 9
    document = json.loads((settings.out / "metrics.json").read_text(encoding="utf-8"))
    locales = document["models"]["base"]["locales"]
    assert {tag: score["unit"] for tag, score in locales.items()} == {"el-GR": "wer", "ja-JP": "cer"}
    assert document["mode"] == "offline"
    assert document["context"] == [56, 3]
    # A model compared with itself is neither better nor worse.
    assert {pair.verdict for pair in result.paired} == {"no difference"}
    assert "<html" in (settings.out / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_decoded_is_not_decoded_again(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_evaluation(settings)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("asr_ray.evaluate.run._decode_all", refuse)
    assert run_evaluation(settings).reports == first.reports
    with pytest.raises(AssertionError, match="decoded again"):
        run_evaluation(settings.model_copy(update={"att_context_size": (56, 13)}))


def test_a_locale_without_data_is_named(settings: EvaluateSettings) -> None:
    with pytest.raises(DataError, match="mt-MT"):
        run_evaluation(settings.model_copy(update={"locales": ["mt-MT"]}))
