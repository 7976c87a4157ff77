"""The demo in miniature: every stage real, on a random model and a few sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr_ray.data.plan_summary import plan_summary
from asr_ray.settings import DemoSettings
from asr_ray.testing import demo
from asr_ray.train.setup import planned_data

CONFIG = Path(__file__).parents[2] / "configs/runs/demo.yaml"
LOCALES = ("en-US", "es-ES", "el-GR", "bg-BG")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_the_demo_goes_all_the_way_and_reuses_what_it_did(tmp_path: Path, micro_nemo: Path) -> None:
    settings = DemoSettings.model_validate(
        {
            "out": tmp_path / "demo",
            "speech": {"train": 24, "replay": 24, "validation": 3, "test": 4},
            "train": CONFIG,
            "set": [
                f"model.base={micro_nemo}",
                "max_steps=4",
                "optim.warmup_steps=1",
                "data.window_utterances=48",
                "validation.every_steps=2",
                "validation.utterances_per_locale=2",
            ],
        }
    )
    trained, said = demo.training_settings(settings), list[str]()
    demo.write_speech(settings, trained=trained)
    evaluation = demo.run_demo(settings, trained=trained, say=said.append)
    assert [line[:3] for line in said] == ["2/4", "3/4", "4/4"]
    assert set(evaluation.reports) == {"base", "tuned"}
    assert evaluation.policy.targets == ("bg-BG", "el-GR")
    metrics = json.loads((settings.out / "evaluation/metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["models"]["tuned"]["locales"]) == set(LOCALES)
    assert (settings.out / "evaluation/report.html").is_file()
    summary = json.loads((settings.out / "train/summary.json").read_text(encoding="utf-8"))
    # What is in the weights is exactly what the plan holds for these steps, replay included.
    promised = plan_summary(planned_data(trained).plan, steps=trained.max_steps, world_size=2).seconds
    assert set(promised) == {(locale, demo.SOURCE) for locale in LOCALES}
    assert summary["consumed_s"] == {
        "/".join(key): pytest.approx(seconds, rel=1e-5) for key, seconds in promised.items()
    }

    shards = {path: path.stat().st_mtime_ns for path in (settings.out / "data").rglob("*.parquet")}
    best = (trained.run_dir / "best.nemo").stat().st_mtime_ns
    demo.write_speech(settings, trained=trained)
    demo.run_demo(settings, trained=trained, say=said.append)
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert (trained.run_dir / "best.nemo").stat().st_mtime_ns == best
