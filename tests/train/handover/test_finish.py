"""The end of a run: the best checkpoint, or the mean of the best few, but only where it is better."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asr_ray.config import load
from asr_ray.data.assemble import Assembler
from asr_ray.metrics import metrics_path, read
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import noise_utterances
from asr_ray.train.group import Worker
from asr_ray.train.handover import finish
from asr_ray.train.handover.finish import export_model, mean_of_weights
from asr_ray.train.loop import Loop

SPEECH = list(noise_utterances(("el-GR", "radio"), count=4, seconds=(0.4, 0.5)))
HELD_OUT = {"el-GR": SPEECH[:1]}
RATES = {1: 0.5, 2: 0.4, 3: 0.6}
"""What each step of the run is said to be worth."""

Run = Callable[..., Loop]


@given(values=st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=5))
def test_the_mean_of_saved_weights(values: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("weights")
    files = [folder / f"{index}.pt" for index in range(len(values))]
    for index, (file, value) in enumerate(zip(files, values, strict=True)):
        torch.save({"weight": torch.full((2,), value), "batches": torch.tensor(index + 5)}, file)
    mean = mean_of_weights(files)
    torch.testing.assert_close(
        mean["weight"], torch.full((2,), sum(values) / len(values)), rtol=1e-4, atol=1e-3
    )
    assert (mean["batches"].dtype, int(mean["batches"])) == (torch.int64, 5)


@pytest.fixture
def run(micro_nemo: Path, tmp_path: Path) -> Run:
    """Train three steps, each validated with the rate that `RATES` gives it."""

    def train(*sets: str) -> Loop:
        given = (f"run_dir={tmp_path}", "data.train=t", "data.validation=v", "model.base=micro")
        steps = ("max_steps=3", "optim.warmup_steps=0", "optim.peak_lr=1e-3", "validation.every_steps=1")
        chosen = load(
            None, schema=TrainSettings, sets=[*given, *steps, "validation.targets=[el-GR]", *sets]
        ).settings
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
                yield assembler.assemble(
                    SPEECH, position=Position(0, 0, step), after=Position(0, 0, step + 1)
                )

        worker = Worker(
            rank=0, world_size=1, device=torch.device("cpu"), batches=batches, report=lambda metrics: None
        )
        loop = Loop(chosen, model=model, worker=worker, validation=HELD_OUT, plan_digest="plan")
        loop.run()
        entries = tuple(
            {"step": step, "locales": {"el-GR": {"rate": RATES.get(step, 0.9)}}} for step in range(4)
        )
        loop.state = replace(loop.state, validations=entries, best_step=2)
        return loop

    return train


def saved(loop: Loop, step: int) -> Mapping[str, Tensor]:
    weights: Mapping[str, Tensor] = torch.load(loop.store.path(step) / "model.pt", weights_only=True)
    return weights


def exported(loop: Loop, path: Path) -> tuple[Mapping[str, Tensor], Any]:
    export_model(loop, path=path)
    return load_model(path).state_dict(), json.loads(path.with_suffix(".json").read_text())


def assert_same(model: Mapping[str, Tensor], objective: Mapping[str, Tensor]) -> None:
    for name, weight in model.items():
        torch.testing.assert_close(weight, objective[f"model.{name}"])


def scored(rate: float) -> Callable[..., Any]:
    return lambda *args, **kwargs: {"el-GR": {"rate": rate}}


KEEP = "checkpoint.average=3"
"""With three steps, all checkpoints are kept."""


@pytest.mark.parametrize(("rate", "made_of"), [(0.39, [2, 1, 3]), (0.4, [2]), (0.8, [2])])
def test_the_mean_is_taken_only_if_it_validates_better_than_the_best(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, made_of: Sequence[int]
) -> None:
    loop = run(KEEP)
    monkeypatch.setattr(finish, "validate", scored(rate))
    weights, record = exported(loop, tmp_path / "best.nemo")

    assert record["steps"] == made_of
    parts = [saved(loop, step) for step in made_of]
    mean = {
        name: torch.stack([part[name].double() for part in parts]).mean(0).to(weight)
        for name, weight in parts[0].items()
    }
    assert_same(weights, mean)
    (row,) = [row for row in read(metrics_path(tmp_path)) if row["kind"] == "average"]
    assert (row["of_steps"], row["taken"]) == ([2, 1, 3], len(made_of) == 3)


def test_a_guard_that_breaks_outweighs_the_target() -> None:
    sets = ("run_dir=r", "data.train=t", "data.validation=v", "model.base=m", "validation.targets=[el-GR]")
    chosen = load(None, schema=TrainSettings, sets=[*sets, "validation.guards=[en-US]"]).settings

    def rates(greek: float, english: float) -> dict[str, dict[str, float]]:
        return {"el-GR": {"rate": greek}, "en-US": {"rate": english}}

    validations = [{"step": 0, "locales": rates(0.9, 0.1)}, {"step": 5, "locales": rates(0.5, 0.1)}]

    def better(scores: dict[str, dict[str, float]]) -> bool:
        return finish.is_better(scores, than=5, validations=validations, settings=chosen)

    assert better(rates(0.49, 0.1))
    assert not better(rates(0.3, 0.2))


def test_one_best_checkpoint_is_the_model_and_nothing_is_validated_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = run(KEEP)
    one = loop.settings.checkpoint.model_copy(update={"average": 1})
    loop.settings = loop.settings.model_copy(update={"checkpoint": one})
    monkeypatch.setattr(finish, "validate", None)
    weights, record = exported(loop, tmp_path / "best.nemo")
    assert record == {"base": "micro", "steps": [2], "merged_adapters": 0}
    assert_same(weights, saved(loop, 2))


def test_rank_0_decides_what_the_others_may_not_see_yet(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = run(KEEP)
    monkeypatch.setattr(finish, "validate", None)
    # This rank sees three checkpoints, where rank 0 had but one.
    monkeypatch.setattr(Worker, "gather", lambda worker, value: [[2], value])
    _, record = exported(loop, tmp_path / "best.nemo")
    assert record["steps"] == [2]


def test_adapters_are_merged_into_what_stock_nemo_restores(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_model: Any
) -> None:
    loop = run(KEEP, "model.lora={rank: 2, adapters_only: true}", "optim.peak_lr=1e-2")
    monkeypatch.setattr(finish, "validate", scored(0.8))
    weights, record = exported(loop, tmp_path / "best.nemo")

    base = micro_model.state_dict()
    assert weights.keys() == base.keys()
    assert record["merged_adapters"] == 18
    changed = {name for name, weight in weights.items() if not torch.equal(weight, base[name])}
    # An adapter of the relative positions may not have moved yet; nothing else but adapted layers may.
    assert changed
    assert all(name.startswith("encoder.layers.") and ".linear" in name for name in changed)


def test_a_run_with_adapters_resumes_bit_for_bit(run: Run) -> None:
    whole = run(KEEP, "model.lora={rank: 2}")
    again = run(KEEP, "model.lora={rank: 2}")
    assert again.state.step == 3
    for name, weight in whole.objective.state_dict().items():
        assert torch.equal(weight, again.objective.state_dict()[name])
