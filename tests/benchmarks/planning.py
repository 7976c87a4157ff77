"""Measure planning on metadata: `python -m tests.benchmarks.planning --help`. Prints one JSON line per part.

epoch   every step of one epoch for 8 ranks: seconds, peak memory, padding, step efficiency.
resume  from a fresh process to the utterances of the first step, at positions all over the first epoch.
mix     largest distance of any 100 steps from the shares of the mix, in seconds of audio.

The catalog (log-normal durations, 40 locales, hours falling as 1/rank) is written once and read by a
process of its own for each part, so that its making does not count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asr_ray.data.batching import BatchBudget
from asr_ray.data.catalog import Catalog
from asr_ray.data.mix import MixPolicy, Temperature, mix_shares
from asr_ray.data.plan import Plan
from asr_ray.locales import LOCALES
from asr_ray.records import Position
from asr_ray.testing.catalogs import made_up_catalog

RANKS = 8
PLACES = (0.0, 0.25, 0.5, 0.75, 0.999)
_BLOCK = 100
"""Steps over which the mix is judged."""


def write_catalog(path: Path, utterances: int) -> None:
    """Write a made-up catalog of 40 locales."""
    weights = 1 / np.arange(1, len(LOCALES) + 1)
    counts = np.maximum((utterances * weights / weights.sum()).astype(int), 1000)
    keys = [(tag, "web") for tag in LOCALES]
    catalog = made_up_catalog(dict(zip(keys, counts.tolist(), strict=True)), row_groups_per_shard=64)
    Catalog.write(catalog.table, path, catalog.metadata)


def plan_of(path: Path) -> Plan:
    """The plan of a run with shares by the root of the hours and batches of 240 s."""
    catalog = Catalog.read(path)
    mix = mix_shares(
        catalog.seconds_by_key, policy=MixPolicy(targets=Temperature(locale_alpha=0.5, source_alpha=0.5))
    )
    return Plan.of(
        catalog, mix.shares, seed=1, budget=BatchBudget(max_padded_s=240.0), window_utterances=4096
    )


def epoch(path: Path) -> dict[str, Any]:
    """Walk through every step of the first epoch."""
    started, processor = time.perf_counter(), time.process_time()
    plan = plan_of(path)
    read_s = time.perf_counter() - started
    catalog, steps, utterances = plan.catalog, 0, 0
    efficiency, audio_s, padded_s = [], 0.0, 0.0
    position = Position()
    while position.epoch == 0:
        window = plan.window_steps(position, world_size=RANKS)
        batches = [batch for step in window for batch in step.batches]
        rows = np.concatenate(batches)
        sizes = np.array([len(batch) for batch in batches])
        starts = np.cumsum(sizes) - sizes
        durations_s = catalog.durations_s[rows].astype(np.float64)
        longest_s = np.maximum.reduceat(durations_s, starts)
        most_tokens = np.maximum.reduceat(catalog.num_tokens[rows].astype(np.int64), starts)
        cost = plan.cost.batch_cost(utterances=sizes, longest_s=longest_s, most_tokens=most_tokens)
        by_step = cost.reshape(-1, RANKS)
        efficiency += (by_step.mean(axis=1) / by_step.max(axis=1)).tolist()
        audio_s, padded_s = audio_s + durations_s.sum(), padded_s + (sizes * longest_s).sum()
        steps, utterances, position = steps + len(window), utterances + len(rows), window[-1].after
    return {
        "catalog_utterances": len(catalog),
        "ranks": RANKS,
        "steps": steps,
        "utterances": utterances,
        "read_s": round(read_s, 2),
        "elapsed_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(time.process_time() - processor, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "step_efficiency": round(float(np.mean(efficiency)), 4),
        "audio_padding": round(1 - audio_s / padded_s, 4),
    }


def resume(path: Path) -> dict[str, Any]:
    """Look up the first step at several positions, each from nothing but the catalog file."""
    found: dict[str, Any] = {"catalog_utterances": 0}
    for place in PLACES:
        started = time.perf_counter()
        plan = plan_of(path)
        window = int(place * plan.windows_per_epoch)
        steps = plan.window_steps(Position(epoch=0, window=window), world_size=RANKS)
        assert steps[0].batches
        found["catalog_utterances"] = len(plan.catalog)
        found[f"at_{place:g}_s"] = round(time.perf_counter() - started, 2)
    return found | {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def mix(path: Path) -> dict[str, Any]:
    """Compare the seconds of each block of steps with the shares (total variation distance)."""
    plan = plan_of(path)
    keys, shares = plan.catalog.keys, plan.schedule[0].shares
    target = np.array([shares.get(key, 0.0) for key in keys])
    errors, seconds = [], np.zeros(len(keys))
    for steps, step in enumerate(plan.steps(Position(), world_size=RANKS), 1):
        rows = np.concatenate(step.batches)
        seconds += np.bincount(
            plan.catalog.key_of_row[rows], weights=plan.catalog.durations_s[rows], minlength=len(keys)
        )
        if steps % _BLOCK == 0:
            errors.append(0.5 * float(np.abs(seconds / seconds.sum() - target).sum()))
            seconds = np.zeros(len(keys))
        if steps == 20 * _BLOCK:
            break
    return {
        "blocks": len(errors),
        "steps": _BLOCK,
        "mean": round(float(np.mean(errors)), 5),
        "largest": round(max(errors), 5),
    }


PARTS: Mapping[str, Callable[[Path], dict[str, Any]]] = {"epoch": epoch, "resume": resume, "mix": mix}


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=10_000_000)
    parser.add_argument("--catalog", type=Path, default=Path("runs/benchmarks/planning.parquet"))
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    if not options.catalog.exists():
        options.catalog.parent.mkdir(parents=True, exist_ok=True)
        writer = context.Process(target=write_catalog, args=(options.catalog, options.utterances))
        writer.start()
        writer.join()
    for part in options.part or PARTS:
        with context.Pool(1) as pool:
            print(json.dumps({"part": part, **pool.apply(PARTS[part], (options.catalog,))}), flush=True)


if __name__ == "__main__":
    main()
