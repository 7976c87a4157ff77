"""A language that the base model has no slot for, from its corpus to its score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr_ray.config import load
from asr_ray.data.shards import prepare
from asr_ray.evaluate.run import run_evaluation
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings, PrepareSettings, TrainSettings
from asr_ray.testing.corpora import clips, write_nemo
from asr_ray.train.run import run_training

TAG = "se-NO"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_new_language_is_prepared_trained_and_scored(tmp_path: Path, micro_nemo: Path) -> None:
    corpora = {
        split: write_nemo(tmp_path / split, clips(count, prefix=split, locale=TAG))
        for split, count in (("train", 40), ("validation", 3), ("test", 4))
    }
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    for split in ("train", "validation"):
        corpus = f"corpora=[{{path: {corpora[split].path}, source: nemo}}]"
        # The made-up clips are short for what they say.
        checks = (f"checks.new_locales=[{TAG}]", "checks.max_characters_per_s=100")
        sets = [corpus, f"out={tmp_path / 'data' / split}", *checks]
        prepared = prepare(load(None, schema=PrepareSettings, sets=sets).settings, tokenizer=tokenizer)
        assert {each.locale for each in prepared.prepared} == {TAG}

    run_dir = tmp_path / "run"
    sets = [
        f"run_dir={run_dir}",
        f"model.base={micro_nemo}",
        f"model.new_locales={{{TAG}: {{like: fi-FI}}}}",
        "model.max_unknown_share=1.0",
        f"data.train={tmp_path / 'data/train'}",
        f"data.validation={tmp_path / 'data/validation'}",
        "data.batch_s=4",
        f"validation.targets=[{TAG}]",
        "max_steps=2",
        "optim.warmup_steps=1",
        "resources.cpus_per_worker=0.5",
    ]
    summary = run_training(load(None, schema=TrainSettings, sets=sets).settings)
    assert set(summary.consumed_s) == {f"{TAG}/nemo"}
    assert inspect_nemo(summary.best_model).prompt_table.slots[TAG] == 63

    sets = [
        f"models={{tuned: {summary.best_model}}}",
        f"data={corpora['test'].path}",
        f"out={tmp_path / 'evaluation'}",
        f"new_locales=[{TAG}]",
        f"locales=[{TAG}]",
    ]
    [evaluation] = run_evaluation(load(None, schema=EvaluateSettings, sets=sets).settings)
    assert evaluation.reports["tuned"].locales[TAG].utterances == 4
    assert TAG in json.loads((tmp_path / "evaluation/metrics.json").read_text())["models"]["tuned"]["locales"]
