"""Does a sweep pay? `python -m tests.benchmarks.sweep --help`. Prints progress, and one JSON line at the end.

Greek and Bulgarian on synthetic speech, of which Bulgarian is scarce on purpose. A tiny model is tuned on
both with equal shares first, so that short trials start from something that can be told apart; from there a
sweep searches, and its finalists and the baselines are trained with several seeds and scored on test speech
that nothing was chosen by. All trials take equal steps of equal seconds of audio. The same command goes on
with what a kill left; another --search or --name over the same --out shares speech and first tuning.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SPOKEN = {"el-GR": 1200, "bg-BG": 150, "en-US": 500, "es-ES": 500}
"""Training utterances; the second target has an eighth of the first."""

SEARCHED = {
    "optuna": {
        "data.mix.alpha": {"uniform": [0.0, 1.0]},
        "data.mix.replay.share": {"uniform": [0.1, 0.5]},
        "optim.peak_lr": {"loguniform": [1e-4, 3e-3]},
    },
    "proxy": {
        "data.mix.replay": None,
        "data.mix.ratios": {
            "simplex": {"scarce": ["bg-BG"], "rich": ["el-GR"], "kept": ["en-US", "es-ES"]},
            "min_share": 0.05,
        },
    },
}


def run_tree(options: argparse.Namespace) -> dict[str, Any]:
    """The configuration that all runs share."""
    out = options.out.resolve()
    return {
        "base": str(Path("configs/runs/demo.yaml").resolve()),
        "run_dir": str(out / "first"),
        "max_steps": options.first_steps,
        "data": {
            "train": str(out / "data/train"),
            "validation": str(out / "data/validation"),
            "batch_s": options.batch_s,
        },
        "optim": {"schedule": "constant", "warmup_steps": min(40, options.first_steps - 1)},
        "validation": {
            "every_steps": options.first_steps,
            "utterances_per_locale": options.validation,
        },
        "checkpoint": {"every_steps": 50},
    }


def recipe_tree(options: argparse.Namespace) -> dict[str, Any]:
    """What is configured before anything is searched, and so what the baselines train with."""
    recipe: dict[str, Any] = {
        "base": str(Path("configs/runs/demo.yaml").resolve()),
        # The helper helps what begins from nothing. A trial begins from trained weights, and a new helper's
        # gradient would fill what clipping leaves: measured, the loss then begins at 66 where it ended at 6.
        "model": {"auxiliary_ctc_weight": 0.0},
    }
    return recipe | ({"optim": {"peak_lr": options.peak_lr}} if options.peak_lr else {})


def sweep_tree(options: argparse.Namespace) -> dict[str, Any]:
    """The sweep over it, which begins where the first tuning ended."""
    tree = run_tree(options)
    out = options.out.resolve()
    tree |= {
        "base": str(out / f"{options.name}-recipe.yaml"),
        "max_steps": options.steps,
        "model": {"base": str(out / "first/best.nemo")},
    }
    tree["optim"] = {"schedule": "cosine", "warmup_steps": min(10, options.steps - 1)}
    # One rung half-way, one validation at the end.
    tree["validation"] |= {"every_steps": max(1, options.steps // 2)}
    tree["checkpoint"] = {"every_steps": max(1, options.steps // 2)}
    tree["resources"] = {"num_workers": 1, "cpus_per_worker": 0.5, "threads_per_worker": 1}
    half_s = 0.45 * options.steps * options.batch_s
    tree["sweep"] = {
        "out": str(out / options.name),
        "search": options.search,
        "num_trials": options.trials,
        "max_concurrent_trials": options.at_once,
        "asha": {"first_rung_s": half_s, "reduction_factor": 3.0} if options.asha else None,
        "finalists": {"count": options.finalists, "seeds": options.seeds},
        "test": str(out / "data/test"),
    }
    for key, searched in SEARCHED[options.search].items():
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = searched
    return tree


def prepare(options: argparse.Namespace) -> None:
    """Speak and prepare the corpora; what is there is taken as it is."""
    from asr_ray.settings import DemoSettings
    from asr_ray.testing.demo import prepare_splits
    from asr_ray.testing.speech import write_corpus

    done = options.out / "data" / "prepared"
    if done.exists():
        return
    write_corpus(
        options.out / "speech",
        locales=list(SPOKEN),
        utterances={
            locale: {
                "train": max(8, round(count * options.speech)),
                "validation": options.validation,
                "test": options.test,
            }
            for locale, count in SPOKEN.items()
        },
        seed=1,
        workers=os.cpu_count() or 1,
    )
    prepare_splits(DemoSettings(out=options.out), base="tiny")
    done.touch()


def outcome(records: Mapping[str, Any], *, base: Mapping[str, float], policy: Any) -> dict[str, Any]:
    """Objective on the test set of each finalist and baseline: of each seed, and their mean."""
    from asr_ray.evaluate.objective import judge

    found: dict[str, dict[str, Any]] = {}
    for name, record in records.items():
        if not record.test_rates:
            continue
        judged = judge(record.test_rates, base=base, policy=policy)
        own = found.setdefault(record.repeats or name, {"objectives": [], "broken": [], "rates": []})
        own["objectives"].append(round(judged.objective, 4))
        own["broken"].append(list(judged.broken))
        own["rates"].append({locale: round(rate, 4) for locale, rate in record.test_rates.items()})
    for name, own in found.items():
        own["mean"] = round(statistics.fmean(own["objectives"]), 4)
        own["audio_s"] = round(records[name].audio_s)
        own["values"] = records[name].values
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its line."""
    options = parsed(arguments)
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options.out.mkdir(parents=True, exist_ok=True)
    import ray
    import yaml
    from rich.console import Console

    from asr_ray.config import load
    from asr_ray.settings import TrainSettings
    from asr_ray.sweep.deciding.conclude import policy_of
    from asr_ray.sweep.deciding.counts import rates_of, read_counts
    from asr_ray.sweep.progress import SweepProgress
    from asr_ray.sweep.run import run_sweep
    from asr_ray.sweep.space import load_sweep
    from asr_ray.train.run import run_training
    from asr_ray.train.telling.progress import Progress

    began = time.monotonic()
    console = Console(stderr=True, highlight=False, force_terminal=False)
    console.print("1/3 synthetic speech")
    ray.init(address=os.environ.get("RAY_ADDRESS", "local"), logging_level=logging.ERROR, log_to_driver=False)
    prepare(options)
    trees = {
        "first": run_tree(options),
        f"{options.name}-recipe": recipe_tree(options),
        options.name: sweep_tree(options),
    }
    for name, tree in trees.items():
        (options.out / f"{name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    console.print("2/3 first tuning, equal shares")
    first = load(options.out / "first.yaml", schema=TrainSettings).settings
    with Progress(first, console=console) as progress:
        run_training(first, watch=progress.update)
    prepared_s = time.monotonic() - began
    console.print("3/3 sweep")
    sweep = load_sweep(options.out / f"{options.name}.yaml")
    with SweepProgress(console=console) as shown:
        result = run_sweep(sweep, watch=shown.update)
    folder = result.out / "test"
    settings = sweep.settings_of(sweep.configured, run_dir=result.out)
    finals = outcome(
        result.records,
        base=rates_of(read_counts(folder / "base.jsonl")),
        policy=policy_of(settings.validation),
    )
    baselines = {name: own["mean"] for name, own in finals.items() if name.startswith("baseline-")}
    winner = result.conclusion.decision.winner
    line = {
        "sweep": options.name,
        "trials": len(result.records),
        "steps": options.steps,
        "audio_s_per_trial": round(statistics.fmean(own["audio_s"] for own in finals.values())),
        "elapsed_s": round(time.monotonic() - began),
        "prepared_s": round(prepared_s),
        "winner": winner,
        "reason": result.conclusion.decision.reason,
        "finals": finals,
        "better_than_baselines": winner not in baselines
        and all(finals[winner]["mean"] < mean for mean in baselines.values()),
    }
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    ray.shutdown()
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sweep", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/sweep-benchmark"))
    parser.add_argument("--search", choices=sorted(SEARCHED), default="optuna")
    parser.add_argument("--name", help="folder of the sweep in --out (default: the search)")
    parser.add_argument("--peak-lr", type=float, help="of the baselines (default: that of the demo)")
    parser.add_argument("--trials", type=int, default=8, help="beside the baselines (default 8)")
    parser.add_argument("--steps", type=int, default=150, help="of each trial (default 150)")
    parser.add_argument("--first-steps", type=int, default=300, help="of the first tuning (default 300)")
    parser.add_argument("--batch-s", type=float, default=24.0, help="seconds of audio per step and worker")
    parser.add_argument("--seeds", type=int, default=3, help="of finalists and baselines (default 3)")
    parser.add_argument("--finalists", type=int, default=2, help="best trials that are repeated (default 2)")
    parser.add_argument("--at-once", type=int, default=2, help="trials side by side (default 2)")
    parser.add_argument("--validation", type=int, default=60, help="utterances per locale (default 60)")
    parser.add_argument("--test", type=int, default=150, help="utterances per locale (default 150)")
    parser.add_argument("--speech", type=float, default=1.0, help="share of the training speech (default 1)")
    parser.add_argument("--asha", action="store_true", help="end trials at half-way that lag")
    options = parser.parse_args(arguments)
    options.name = options.name or options.search
    return options


if __name__ == "__main__":
    raise SystemExit(main())
