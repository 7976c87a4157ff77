"""Two ranks with gradients of their own end with one set of weights, adapters or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asr_ray.config import load
from asr_ray.data.assemble import Assembler
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import noise_utterances
from asr_ray.testing.ranks import run_ranks
from asr_ray.train.group import Worker
from asr_ray.train.handover.finish import export_model
from asr_ray.train.loop import Loop

RANKS = 2
ADAPTED_LAYERS = 18
UTTERANCES = list(noise_utterances(("el-GR", "radio"), count=12, seconds=(0.4, 0.7)))
HELD_OUT = {"el-GR": UTTERANCES[:2]}


def settings_for(run_dir: Path, *sets: str, base: Path) -> TrainSettings:
    run_dir.mkdir(exist_ok=True)
    given = (f"run_dir={run_dir}", "data.train=t", "data.validation=v", f"model.base={base}")
    steps = ("max_steps=3", "optim.warmup_steps=0", "optim.peak_lr=1e-2", "validation.every_steps=3")
    roles = ("validation.targets=[el-GR]",)
    return load(None, schema=TrainSettings, sets=[*given, *steps, *roles, *sets]).settings


def train(settings: TrainSettings, *, rank: int, world_size: int) -> None:
    """One rank of a run: utterances of its own, then the hash of its weights; the first saves the model."""
    torch.set_num_threads(1)
    base = Path(str(settings.model.base))
    model = load_model(base)
    assembler = Assembler(
        tokenizer=NemoTokenizer.from_nemo(base),
        prompts=prompt_table(model),
        prompt_mode="langID",
        auto_share=0.0,
        append_tags=False,
        seed=1,
    )

    def batches(start: Position) -> Iterator[Batch]:
        mine = UTTERANCES[rank::world_size]
        for step in range(start.step, 9):
            yield assembler.assemble(
                mine[step : step + 2], position=Position(0, 0, step), after=Position(0, 0, step + 1)
            )

    worker = Worker(
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
        batches=batches,
        report=lambda metrics: None,
    )
    loop = Loop(settings, model=model, worker=worker, validation=HELD_OUT, plan_digest="noise")
    loop.run()
    content = [loop.objective.state_dict()[name] for name in sorted(loop.objective.state_dict())]
    digest = hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in content)).hexdigest()
    (settings.run_dir / f"weights-{rank}").write_text(digest)
    export_model(loop, path=settings.run_dir / "best.nemo")
    worker.barrier()
    loop.metrics.close()


def weights_of(run_dir: Path) -> set[str]:
    """Digests of the weights that the ranks ended with."""
    return {(run_dir / f"weights-{rank}").read_text() for rank in range(RANKS)}


@pytest.mark.slow
def test_adapters_are_the_same_on_all_ranks_and_merge_into_what_they_computed(
    tmp_path: Path, micro_nemo: Path
) -> None:
    run_dir = tmp_path / "run"
    settings = settings_for(run_dir, "model.lora={rank: 2, adapters_only: true}", base=micro_nemo)
    ended = run_ranks(train, settings, world_size=RANKS, run_dir=run_dir, hang_timeout_s=300.0)
    assert ended.well, ended.errors
    assert len(weights_of(run_dir)) == 1

    record = json.loads((run_dir / "best.json").read_text())
    assert (record["steps"], record["merged_adapters"]) == ([3], ADAPTED_LAYERS)
    saved = torch.load(run_dir / "checkpoints/step-00000003/model.pt", weights_only=True)
    base, merged = load_model(micro_nemo).state_dict(), load_model(run_dir / "best.nemo").state_dict()
    assert merged.keys() == base.keys()
    moved = 0
    for name, weight in base.items():
        place = f"model.{name.removesuffix('.weight')}"
        if f"{place}.up" in saved:
            # By hand: the file holds W + (alpha / rank) B A, with the alpha of the defaults.
            correction = 32.0 / 2 * saved[f"{place}.up"].double() @ saved[f"{place}.down"].double()
            torch.testing.assert_close(merged[name].double(), weight.double() + correction)
            moved += bool(correction.abs().max() > 0)
        else:
            assert torch.equal(merged[name], weight)
    # The adapters of the relative positions may not have moved yet.
    assert moved >= ADAPTED_LAYERS - 2


@pytest.mark.slow
def test_whole_models_are_the_same_on_all_ranks(tmp_path: Path, micro_nemo: Path) -> None:
    run_dir = tmp_path / "run"
    settings = settings_for(run_dir, base=micro_nemo)
    ended = run_ranks(train, settings, world_size=RANKS, run_dir=run_dir, hang_timeout_s=300.0)
    assert ended.well, ended.errors
    assert len(weights_of(run_dir)) == 1
