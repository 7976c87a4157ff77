"""Two ranks with gradients of their own end with one set of weights, adapters or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asr_ray.config import load
from asr_ray.model.nemo_file import load_model
from asr_ray.settings import TrainSettings
from asr_ray.testing.noise_run import train_on_ranks


def run_of(run_dir: Path, *, base: Path, sets: tuple[str, ...] = ()) -> TrainSettings:
    run_dir.mkdir()
    given = (f"run_dir={run_dir}", "data.train=t", "data.validation=v", f"model.base={base}")
    steps = ("max_steps=3", "optim.warmup_steps=0", "optim.peak_lr=1e-2", "validation.every_steps=3")
    return load(
        None, schema=TrainSettings, sets=[*given, *steps, "validation.targets=[el-GR]", *sets]
    ).settings


@pytest.mark.slow
def test_adapters_are_the_same_on_all_ranks_and_merge_into_what_they_computed(
    tmp_path: Path, micro_nemo: Path
) -> None:
    lora = ("model.lora={rank: 2, adapters_only: true}",)
    settings = run_of(tmp_path / "run", base=micro_nemo, sets=lora)
    one, other = train_on_ranks(settings, world_size=2)
    assert one == other

    record = json.loads((settings.run_dir / "best.json").read_text())
    assert (record["steps"], record["merged_adapters"]) == ([3], 18)
    saved = torch.load(settings.run_dir / "checkpoints/step-00000003/model.pt", weights_only=True)
    base, merged = (
        load_model(micro_nemo).state_dict(),
        load_model(settings.run_dir / "best.nemo").state_dict(),
    )
    assert merged.keys() == base.keys()
    moved = 0
    for name, weight in base.items():
        place = f"model.{name.removesuffix('.weight')}"
        if f"{place}.up" in saved:
            # alpha / rank of the settings, by hand: the file holds W + (alpha / r) B A.
            correction = 16.0 * saved[f"{place}.up"].double() @ saved[f"{place}.down"].double()
            torch.testing.assert_close(merged[name].double(), weight.double() + correction)
            moved += bool(correction.abs().max() > 0)
        else:
            assert torch.equal(merged[name], weight)
    assert moved >= 16


@pytest.mark.slow
def test_whole_models_are_the_same_on_all_ranks(tmp_path: Path, micro_nemo: Path) -> None:
    one, other = train_on_ranks(run_of(tmp_path / "run", base=micro_nemo), world_size=2)
    assert one == other
