"""Measure planning on metadata: `python -m tests.benchmarks.planning --help`. Prints one JSON line per part.

epoch   every step of one epoch for 8 ranks: seconds, peak memory, padding, step efficiency.
resume  from a fresh process to the utterances of the first step, at positions all over the first epoch.
mix     distance of any 100 consecutive steps, wherever they begin, from the shares of the mix, in seconds
        of audio, on 8 ranks and on one; for the catalog and for five locales of halving hours.
ledger  utterances lost and repeated over an epoch by the ledger of a run that was killed at every tenth step
        and went on with 4, 3, 1, 4, ... ranks.

The catalog (log-normal durations, 40 locales, hours falling as 1/rank) is written once and read by a
process of its own for each part, so that its making does not count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import tempfile
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
from asr_ray.testing.killed import Kills, lost_and_repeated, train_with_kills

RANKS = 8
PLACES = (0.0, 0.25, 0.5, 0.75, 0.999)
_BLOCK = 100
"""Steps over which the mix is judged."""
_STEPS_JUDGED = 3000


def write_catalog(path: Path, utterances: int) -> None:
    """Write a made-up catalog of 40 locales."""
    weights = 1 / np.arange(1, len(LOCALES) + 1)
    counts = np.maximum((utterances * weights / weights.sum()).astype(int), 1000)
    keys = [(tag, "web") for tag in LOCALES]
    catalog = made_up_catalog(dict(zip(keys, counts.tolist(), strict=True)), row_groups_per_shard=64)
    Catalog.write(catalog.table, path, catalog.metadata)


def five_locales(utterances: int) -> Catalog:
    """About so many utterances, each locale half of the one before."""
    return made_up_catalog({(tag, "web"): utterances >> (1 + i) for i, tag in enumerate(list(LOCALES)[:5])})


def plan_of(path: Path) -> Plan:
    """The plan of a run with shares by the root of the hours and batches of 240 s."""
    return plan_over(Catalog.read(path))


def plan_over(catalog: Catalog) -> Plan:
    """As `plan_of`, of a catalog at hand."""
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
    """Compare the seconds of any `_BLOCK` steps with the shares (total variation distance)."""
    plans = {"40 locales": plan_of(path), "5 locales": plan_over(five_locales(200_000))}
    found = {
        f"{name}, ranks {ranks}": mix_error(plan, ranks=ranks)
        for name, plan in plans.items()
        for ranks in (RANKS, 1)
    }
    return {"steps": _BLOCK, **found}


def mix_error(plan: Plan, *, ranks: int) -> dict[str, float]:
    """Walk through some thousand steps and judge each run of `_BLOCK` of them."""
    catalog, shares = plan.catalog, plan.schedule[0].shares
    target = np.array([shares.get(key, 0.0) for key in catalog.keys])
    seconds = [np.zeros(len(catalog.keys))]
    for step in itertools.islice(plan.steps(Position(), world_size=ranks), _STEPS_JUDGED):
        rows = np.concatenate(step.batches)
        seconds.append(
            np.bincount(
                catalog.key_of_row[rows], weights=catalog.durations_s[rows], minlength=len(catalog.keys)
            )
        )
    until = np.cumsum(seconds, axis=0)
    blocks = until[_BLOCK:] - until[:-_BLOCK]
    errors = 0.5 * np.abs(blocks / blocks.sum(axis=1, keepdims=True) - target).sum(axis=1)
    return {"mean": round(float(errors.mean()), 5), "largest": round(float(errors.max()), 5)}


def ledger(_: Path) -> dict[str, Any]:
    """Kill a run of one epoch over and over; what it trained on must be the catalog, once."""
    catalog = five_locales(30_000)
    total_s = sum(catalog.seconds_by_key.values())
    shares = {key: seconds / total_s for key, seconds in catalog.seconds_by_key.items()}
    plan = Plan.of(catalog, shares, seed=1, budget=BatchBudget(max_padded_s=240.0), window_utterances=4096)
    how = Kills(every=10, uncommitted=3, world_sizes=(4, 3, 1))
    with tempfile.TemporaryDirectory() as folder:
        _, kills = train_with_kills(plan, Path(folder), kills=how, until=Position(epoch=1))
        lost, repeated = lost_and_repeated(Path(folder), ids=catalog.ids(np.arange(len(catalog))))
    return {
        "utterances": len(catalog),
        "kills": kills,
        "ranks": how.world_sizes,
        "lost": lost,
        "repeated": repeated,
    }


PARTS: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "epoch": epoch,
    "resume": resume,
    "mix": mix,
    "ledger": ledger,
}


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
