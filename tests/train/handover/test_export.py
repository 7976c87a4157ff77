"""What is handed over: the weights that were asked for, as stock NeMo reads them, and a true record."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asr_ray.config import dump, load
from asr_ray.data.assemble import Assembler
from asr_ray.errors import ConfigError, DataError
from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.results import Decoded, decoding, write_results
from asr_ray.evaluate.scoring.paired import metrics_document
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs
from asr_ray.model.nemo_file import load_model, quiet_nemo, sha256_of
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Batch, Position
from asr_ray.settings import EvaluateSettings, ExportSettings, TrainSettings
from asr_ray.testing.prepared import noise_utterances
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.group import Worker
from asr_ray.train.handover.export import Export, choose_source, export_run
from asr_ray.train.handover.finish import export_model
from asr_ray.train.loop import Loop

SPEECH = list(noise_utterances(("el-GR", "radio"), count=4, seconds=(0.4, 0.5)))


@pytest.fixture(scope="module")
def run_dir(micro_nemo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three validated steps with adapters, `best.nemo` included."""
    folder = tmp_path_factory.mktemp("runs") / "greek"
    folder.mkdir()
    sets = (
        f"run_dir={folder}",
        "data.train=t",
        "data.validation=v",
        f"model.base={micro_nemo}",
        "max_steps=3",
    )
    more = (
        "optim.warmup_steps=0",
        "optim.peak_lr=1e-2",
        "validation.every_steps=1",
        "checkpoint.every_steps=1",
    )
    settings = load(
        None,
        schema=TrainSettings,
        sets=[*sets, *more, "validation.targets=[el-GR]", "model.lora={rank: 2}"],
    ).settings
    (folder / "config.yaml").write_text(dump(settings), encoding="utf-8")
    model = load_model(micro_nemo)
    assembler = Assembler(
        tokenizer=NemoTokenizer.from_nemo(micro_nemo),
        prompts=prompt_table(model),
        prompt_mode="langID",
        auto_share=0.0,
        append_tags=False,
        seed=1,
    )

    def batches(start: Position) -> Iterator[Batch]:
        for step in range(start.step, 9):
            yield assembler.assemble(SPEECH, position=Position(0, 0, step), after=Position(0, 0, step + 1))

    worker = Worker(
        rank=0, world_size=1, device=torch.device("cpu"), batches=batches, report=lambda metrics: None
    )
    loop = Loop(settings, model=model, worker=worker, validation={"el-GR": SPEECH[:1]}, plan_digest="plan")
    loop.run()
    export_model(loop, path=folder / "best.nemo")
    return folder


def export(run_dir: Path, out: Path, *sets: str) -> Export:
    given = [f"run_dir={run_dir}", f"out={out}", *sets]
    return export_run(load(None, schema=ExportSettings, sets=given).settings)


def test_the_best_of_a_finished_run_is_its_own_file(run_dir: Path, tmp_path: Path) -> None:
    done = export(run_dir, tmp_path)
    assert done.model == tmp_path / "greek.nemo"
    assert sha256_of(done.model) == sha256_of(run_dir / "best.nemo") == done.record["model"]["sha256"]
    assert json.loads(done.record_file.read_text()) == json.loads(json.dumps(done.record))


def test_any_checkpoint_becomes_a_model_with_its_adapters_merged(
    run_dir: Path, tmp_path: Path, micro_nemo: Path
) -> None:
    step = 2
    done = export(run_dir, tmp_path, f"checkpoint={step}", "name=x")
    saved = torch.load(CheckpointStore(run_dir).path(step) / "model.pt", weights_only=True)
    weights, base = load_model(done.model).state_dict(), load_model(micro_nemo).state_dict()
    assert weights.keys() == base.keys()
    stored = {name.removeprefix("model."): weight for name, weight in saved.items()}
    # Beside the weight of a corrected layer stand the two factors of its correction.
    layers = {name.rpartition(".")[0] for name in stored if name.endswith((".up", ".down"))}
    corrected = {f"{layer}.weight" for layer in layers}
    assert done.record["made_of"] == {"steps": [step], "merged_adapters": len(corrected)}
    assert corrected
    for name, weight in weights.items():
        assert torch.equal(weight, stored[name]) is (name not in corrected), name
    seconds = sum(utterance.duration_s for utterance in SPEECH) * step
    assert done.record["consumed_hours"] == {"el-GR/radio": pytest.approx(seconds / 3600, abs=1e-4)}
    assert done.record["validation"]["model"]["el-GR"]["utterances"] == 1


def test_the_last_checkpoint_is_the_newest(run_dir: Path) -> None:
    settings = load(None, schema=ExportSettings, sets=[f"run_dir={run_dir}", "checkpoint=last"]).settings
    assert choose_source(settings).steps == (3,)


def test_what_the_card_says_about_loading_works(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = export(run_dir, tmp_path)
    found = re.search(r"```python\n(.*?)```", done.card.read_text(), re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with quiet_nemo():
        exec(found[1], names)
    model = names["model"]
    assert type(model).__name__ == "EncDecRNNTBPEModelWithPrompt"
    assert model._inference_prompt_index == done.record["model"]["prompts"]["el-GR"]  # type: ignore[attr-defined]


def evaluated(folder: Path, model: Path) -> Path:
    """Leave what jobs/evaluate.py leaves of a model, with two utterances of which one is wrong."""
    settings = load(None, schema=EvaluateSettings, sets=["models={m: x}", "data=d", f"out={folder}"]).settings
    condition = Condition(data="d", att_context_size=(56, 3), mode="offline", prompt="locale")
    rows = [
        Hypothesis(id=f"u{n}", locale="el-GR", ref="ένα δύο", hyp=hyp, duration_s=1.0)
        for n, hyp in enumerate(("ένα δύο", "ένα τρία"))
    ]
    seal = decoding(settings, condition=condition, model_sha256=sha256_of(model), catalog_digest="c")
    write_results(folder / "m", Decoded(rows=rows, decode_s=1.0), decoded=seal)
    document = metrics_document(
        {"m": score_pairs(rows, seed=1)}, context=(56, 3), mode="offline", prompt="locale"
    )
    (folder / "metrics.json").write_text(json.dumps(document))
    return folder / "metrics.json"


def test_an_evaluation_of_this_very_file_is_added_without_writing_it_again(
    run_dir: Path, tmp_path: Path
) -> None:
    first = export(run_dir, tmp_path, "checkpoint=2")
    written = first.model.stat().st_mtime_ns
    metrics = evaluated(tmp_path / "evaluation", first.model)
    second = export(run_dir, tmp_path, "checkpoint=2", f"evaluation={metrics}")
    assert second.model.stat().st_mtime_ns == written
    (found,) = second.record["evaluation"]
    assert found["locales"]["el-GR"]["rate"] == 0.25
    assert "25.00%" in second.card.read_text()
    with pytest.raises(ConfigError, match="is none of the exported file"):
        export(run_dir, tmp_path, "checkpoint=3", f"evaluation={metrics}")


def test_a_file_that_was_changed_is_written_again(run_dir: Path, tmp_path: Path) -> None:
    first = export(run_dir, tmp_path)
    first.model.write_bytes(b"something else")
    assert sha256_of(export(run_dir, tmp_path).model) == first.record["model"]["sha256"]


def test_what_cannot_be_exported_is_told(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no checkpoint of step 9") as caught:
        export(run_dir, tmp_path, "checkpoint=9")
    assert "1, 2, 3" in caught.value.fix
    with pytest.raises(ConfigError, match="no folder of a run"):
        export(tmp_path, tmp_path)
    broken = shutil.copytree(run_dir, tmp_path / "broken")
    (CheckpointStore(broken).path(2) / "model.pt").write_bytes(b"half")
    with pytest.raises(DataError, match=r"model\.pt has 4 bytes"):
        export(broken, tmp_path, "checkpoint=2")
    shutil.rmtree(broken / "checkpoints")
    with pytest.raises(ConfigError, match="has no checkpoint"):
        export(broken, tmp_path)


def test_names_of_files_are_names(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="becomes the name of files"):
        load(None, schema=ExportSettings, sets=[f"run_dir={run_dir}", "name=../x"])
