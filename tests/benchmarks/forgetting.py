"""What tuning does to the languages that are not tuned: with and without replay, with and without guards.

    python -m tests.benchmarks.forgetting --out runs/benchmarks/forgetting

Tunes the base of the demo on its synthetic Greek and Bulgarian three times, with the same number of steps:
`off` without replay, its guards only watched; `guarded` without replay, its guards able to end the run; `on`
as `make demo` is configured. Then evaluates each on unseen sentences. Prints one JSON line with error rates
of each locale; stages that are finished are reused. `--variants` runs some of them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from asr_ray.evaluate.run import run_evaluation
from asr_ray.settings import DemoSettings, EvaluateSettings, TrainSettings
from asr_ray.testing.demo import prepare_splits, training_settings, write_speech
from asr_ray.train.run import RunSummary, run_training

WITHOUT_REPLAY = ("data.mix.replay=null", "data.mix.ratios={el-GR: 1, bg-BG: 1}")
VARIANTS: dict[str, tuple[str, ...]] = {
    "off": (*WITHOUT_REPLAY, "validation.max_guard_loss=1.0", "validation.stop_when_broken=null"),
    "guarded": (*WITHOUT_REPLAY, "validation.stop_when_broken=2"),
    "on": ("validation.stop_when_broken=2",),
}


def settings_of(
    variant: str, *, out: Path, steps: int, every_steps: int
) -> tuple[DemoSettings, TrainSettings]:
    """Return the settings of the demo and of the run of one variant."""
    length = (f"max_steps={steps}", f"validation.every_steps={every_steps}")
    often = (*length, f"checkpoint.every_steps={every_steps}", f"run_dir={out / variant}")
    demo = DemoSettings(out=out, set=[*often, *VARIANTS[variant]])
    return demo, training_settings(demo)


def outcome(summary: RunSummary, *, rates: dict[str, float], steps: int) -> dict[str, Any]:
    """Return what is worth keeping of one run."""
    return {
        "test_rate": rates,
        "validation_rate_by_step": {
            entry["step"]: {tag: score["rate"] for tag, score in entry["locales"].items()}
            for entry in summary.validations
        },
        "best_step": summary.best_step,
        "ended_after_steps": summary.steps,
        "of_steps": steps,
        "stopped": summary.stopped,
        "heard_h": {key: seconds / 3600 for key, seconds in summary.consumed_s.items()},
        "train_s": summary.elapsed_s,
    }


def main() -> None:
    import ray

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.forgetting", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/forgetting"))
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every-steps", type=int, default=75)
    options = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    demo, trained = settings_of(
        "on", out=options.out.resolve(), steps=options.steps, every_steps=options.every_steps
    )
    write_speech(demo, trained=trained)
    prepare_splits(demo, base=str(trained.model.base))
    summaries = {}
    for variant in options.variants:
        _, trained = settings_of(variant, out=demo.out, steps=options.steps, every_steps=options.every_steps)
        summaries[variant] = run_training(trained)
    models = {"base": "tiny"} | {name: str(summary.best_model) for name, summary in summaries.items()}
    [evaluation] = run_evaluation(
        EvaluateSettings(models=models, data={"test": demo.out / "data/test"}, out=demo.out / "evaluation")
    )
    rates = {
        name: {tag: score.rate for tag, score in report.locales.items()}
        for name, report in evaluation.reports.items()
    }
    found = {
        name: outcome(summary, rates=rates[name], steps=options.steps) for name, summary in summaries.items()
    }
    print(json.dumps({"base": {"test_rate": rates["base"]}} | found))


if __name__ == "__main__":
    main()
