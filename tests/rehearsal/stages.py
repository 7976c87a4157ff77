"""What is rehearsed, stage by stage; each leaves on the shared folder what the next one needs."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asr_ray.config import load
from asr_ray.data.catalog import Catalog
from asr_ray.metrics import metrics_path, read
from asr_ray.records import Position
from asr_ray.settings import TrainSettings
from asr_ray.testing.killed import lost_and_repeated
from asr_ray.testing.speech import write_corpus
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.setup import planned_data
from tests.rehearsal.nodes import ROOT, Cluster
from tests.rehearsal.submitted import POLL_S, Submitted, expect, stop, submit

Tell = Callable[[str], None]
Stage = Callable[[Cluster, Path, Tell], None]

LOCALES = {"el-GR": 240, "en-US": 120}
"""Target and guard -> training utterances."""
HELD_OUT = 12
STEPS, COMMIT_EVERY = 80, 20
WAITING_S = 10.0
"""How long the run stays without the node that it lost."""
PREPARE_S, START_S, TRAIN_S, SWEEP_S = 600.0, 900.0, 1200.0, 1800.0
"""Limits of waiting, far above what is usual."""
RANK, ACTOR = "RayTrainWorker", "Decoder"
"""Ray's own names of the processes of a rank, and of an actor that decodes."""
INTERRUPTED = 6
GIB = 2**30


class Skipped(Exception):
    """A stage that cannot be rehearsed in this checkout."""


def refuse_strangers(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """Another token than the cluster's, at the dashboard and at the head."""
    wrong = {"RAY_AUTH_TOKEN": "0" * 64}
    job = submit(cluster, "stranger", "true", environment=wrong)
    expect(job.wait(timeout_s=PREPARE_S) == 1, what=f"a wrong token was taken:\n{job.end}")
    expect("Invalid authentication token" in job.text, what=f"the refusal is not clear:\n{job.end}")
    tell("wrong token, `ray job submit`: exit code 1, Invalid authentication token")
    done = subprocess.run(
        ["python", "jobs/prepare.py", *sets_of(f"out={shared / 'none'}", "corpora=[{path: x, source: x}]")],
        cwd=ROOT,
        env={**cluster.environment, **wrong, "RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        timeout=PREPARE_S,
        check=False,
    )
    expect(done.returncode == 4, what=f"exit code {done.returncode}:\n{done.stderr}")
    expect("refuses the token of this process" in done.stderr, what=done.stderr)
    tell("wrong token, a job that joins: exit code 4, `refuses the token of this process`, with its fix")


def leave_large_files(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """Files of 1 GiB in a copy of the checkout: of a kind that is not uploaded, and of one that is."""
    checkout = cluster.folder / "checkout"
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    large = checkout / "takes.bin", checkout / "configs/corpora/notes.json"
    for path in large:
        with path.open("wb") as file:
            file.truncate(GIB)
    code = "import pathlib; print([p.name for p in pathlib.Path().rglob('*') if p.stat().st_size > 2**29])"
    job = submit(cluster, "large", "python", "-c", code, working_dir=checkout)
    expect(job.wait(timeout_s=PREPARE_S) == 1, what=f"a gigabyte was taken:\n{job.end}")
    named = [line for line in job.text.splitlines() if "very large" in line]
    expect(len(named) == 1 and "notes.json" in named[0], what=f"not named:\n{job.end}")
    expect("Maximum request body size" in job.text, what=f"the refusal is not clear:\n{job.end}")
    tell("1 GiB notes.json, of a kind that travels: refused, and named as `very large`")
    large[1].unlink()
    job = submit(cluster, "large", "python", "-c", code, working_dir=checkout)
    expect(job.wait(timeout_s=PREPARE_S) == 0, what=job.end)
    expect("\n[]\n" in job.text, what=f"takes.bin was uploaded:\n{job.end}")
    tell("1 GiB takes.bin, of another kind: left out by .rayignore, the job runs")
    shutil.rmtree(checkout)


def prepare(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """Synthetic speech into shards, each split by a job of its own."""
    write_corpus(
        shared / "speech",
        locales=list(LOCALES),
        utterances={
            locale: {"train": count, "validation": HELD_OUT, "test": HELD_OUT}
            for locale, count in LOCALES.items()
        },
        seed=1,
        workers=2,
    )
    for split in ("train", "validation", "test"):
        out = shared / "data" / split
        job = submit(
            cluster,
            f"prepare-{split}",
            *("python", "jobs/prepare.py"),
            *sets_of(f"out={out}", f"corpora=[{{path: {shared}/speech/*/{split}.jsonl, source: espeak}}]"),
        )
        expect(job.wait(timeout_s=PREPARE_S) == 0, what=job.end)
        expect(summary_of(out)["exit_code"] == 0, what="summary.json names another exit code")
        expect("write: 100%" in job.text, what=f"no progress in the log of the job:\n{job.end}")
    tell("three splits, exit code 0, progress in the logs")


def train(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """Train on both workers, lose a node, get another, be stopped."""
    settings = training(shared)
    job = submit_training(cluster, shared)
    until_step(job, settings, COMMIT_EVERY + 5)
    ranks = [node.name for node in cluster.nodes.values() if node.runs(RANK)]
    expect(ranks == ["worker-1", "worker-2"], what=f"ranks run on {ranks}")
    tell(f"one rank on each of {' and '.join(ranks)}, none on the head")
    cluster.nodes.pop("worker-2").vanish()
    committed, lost_at = newest_step(settings), time.monotonic()
    tell(f"worker-2 killed after the checkpoint of step {committed}")
    time.sleep(WAITING_S)
    expect(job.process.poll() is None, what=f"the run did not wait:\n{job.end}")
    expect(newest_step(settings) == committed, what="a checkpoint came while a rank was missing")
    cluster.start_worker("worker-3", cpus=3)
    tell("the run waits; worker-3 started")
    until_step(job, settings, committed + COMMIT_EVERY)
    ranks = [node.name for node in cluster.nodes.values() if node.runs(RANK)]
    expect(ranks == ["worker-1", "worker-3"], what=f"ranks run on {ranks}")
    after_s = time.monotonic() - lost_at
    tell(f"goes on, on {' and '.join(ranks)}: a new checkpoint {after_s:.0f} s after the kill")
    stop_it(cluster, job, settings, tell)


def stop_it(cluster: Cluster, job: Submitted, settings: TrainSettings, tell: Tell) -> None:
    """`ray job stop` lets the run commit."""
    begin = time.monotonic()
    stop(cluster, job)
    # Its exit code is 0 all the same: to Ray, a job that was stopped has not failed.
    job.wait(timeout_s=START_S)
    told = "stopped by" in job.text and "checkpoint committed" in job.text
    expect(told, what=f"it does not say that it stopped:\n{job.end}")
    code = summary_of(settings.run_dir)["exit_code"]
    expect(code == INTERRUPTED, what=f"summary.json of the stopped run says {code}:\n{job.end}")
    stopped_at, took_s = newest_step(settings), time.monotonic() - begin
    tell(f"stopped in {took_s:.0f} s, committed at step {stopped_at}, exit code 6 in summary.json")


def resume(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """The same command, under another id, takes the stopped run to its end; then the books are checked."""
    settings = training(shared)
    stopped_at = newest_step(settings)
    again = submit_training(cluster, shared)
    expect(again.wait(timeout_s=TRAIN_S) == 0, what=again.end)
    summary = summary_of(settings.run_dir)
    expect((summary["exit_code"], summary["steps"]) == (0, STEPS), what=f"summary.json: {summary}")
    expect(f"/{STEPS}  loss" in again.text, what=f"no progress in the log of the job:\n{again.end}")
    tell(f"submitted again: from step {stopped_at} to {STEPS}, exit code 0, progress in the logs")
    check_books(settings, tell)


def check_books(settings: TrainSettings, tell: Tell) -> None:
    """The ledger against the plan: each planned utterance as often as it was planned."""
    plan = planned_data(settings).plan
    steps = plan.steps(Position(), world_size=settings.resources.max_workers)
    rows = [
        row for step in itertools.islice(steps, settings.max_steps) for batch in step.batches for row in batch
    ]
    planned = Catalog.read(settings.data.train / "catalog.parquet", ids=True).ids(np.array(rows))
    lost, repeated = lost_and_repeated(settings.run_dir, ids=planned)
    expect((lost, repeated) == (0, 0), what=f"{lost} utterances lost, {repeated} too often")
    tell(f"ledger: {len(planned)} uses of utterances planned, 0 lost, 0 too often")


def sweep(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """Three short trials of the learning rate, and a decision."""
    if not (ROOT / "jobs" / "sweep.py").exists():
        raise Skipped("this checkout has no jobs/sweep.py")
    out = shared / "sweep"
    job = submit(
        cluster,
        "sweep",
        *("python", "jobs/sweep.py", "--config", "configs/runs/demo.yaml"),
        *sets_of(*training_sets(shared), "max_steps=12", "validation.every_steps=6", "optim.warmup_steps=2"),
        # One rank a trial, so that two trials run at once.
        *sets_of("resources.num_workers=1", "optim.peak_lr={loguniform: [0.0003, 0.003]}"),
        *sets_of(f"sweep.out={out}", "sweep.search=random", "sweep.num_trials=3"),
        *sets_of("sweep.baselines=false", "sweep.finalists=null"),
    )
    expect(job.wait(timeout_s=SWEEP_S) == 0, what=job.end)
    expect(summary_of(out)["exit_code"] == 0, what="summary.json names another exit code")
    lines = (out / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    # A line for each change: of a trial, the last one holds.
    trials = {trial["name"]: trial["status"] for trial in map(json.loads, lines)}
    expect(sorted(trials.values()) == ["finished"] * 3, what=f"trials: {trials}")
    expect((out / "decision.json").is_file(), what="no decision.json")
    tell("three trials finished, exit code 0, a decision")


def evaluate(cluster: Cluster, shared: Path, tell: Tell) -> None:
    """Base against tuned, by an actor on each of the workers."""
    out = shared / "evaluation"
    job = submit(
        cluster,
        "evaluate",
        *("python", "jobs/evaluate.py"),
        *sets_of(f"models={{base: tiny, tuned: {shared}/run/best.nemo}}", f"data={shared}/data/test"),
        *sets_of(f"out={out}", "guards=[en-US]", "num_actors=2", "piece_s=20"),
        *sets_of("worker_labels={pool: worker}"),
    )
    places = places_of(ACTOR, cluster, job)
    expect(job.wait(timeout_s=START_S) == 0, what=job.end)
    expect(summary_of(out)["exit_code"] == 0, what="summary.json names another exit code")
    expect("decode: 100%" in job.text, what=f"no progress in the log of the job:\n{job.end}")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    rates = {
        name: {tag: round(100 * score["rate"], 1) for tag, score in model["locales"].items()}
        for name, model in metrics["models"].items()
    }
    expect(places == cluster.nodes.keys() - {"head"}, what=f"actors ran on {places}")
    tell(f"actors on {' and '.join(sorted(places))}; exit code 0, error rates in percent {rates}")


def places_of(name: str, cluster: Cluster, job: Submitted) -> set[str]:
    """Return the nodes that ran a process of this name while the job lasted."""
    places: set[str] = set()
    deadline = time.monotonic() + START_S
    while job.process.poll() is None and time.monotonic() < deadline:
        places.update(node.name for node in cluster.nodes.values() if node.runs(name))
        time.sleep(POLL_S)
    return places


def training_sets(shared: Path) -> list[str]:
    """What differs from the run of the demo."""
    return [
        f"run_dir={shared / 'run'}",
        f"data.train={shared / 'data/train'}",
        f"data.validation={shared / 'data/validation'}",
        "data.mix.replay={share: 0.3, locales: [en-US]}",
        "validation.targets=[el-GR]",
        "validation.guards=[en-US]",
        "validation.every_steps=40",
        f"validation.utterances_per_locale={HELD_OUT}",
        f"max_steps={STEPS}",
        f"checkpoint.every_steps={COMMIT_EVERY}",
        "optim.warmup_steps=20",
        # Two ranks do not fit on one node, and none fits on the head.
        "resources.cpus_per_worker=2",
        "resources.worker_labels={pool: worker}",
    ]


def training(shared: Path) -> TrainSettings:
    """The settings of the run, as its job reads them."""
    return load(ROOT / "configs/runs/demo.yaml", schema=TrainSettings, sets=training_sets(shared)).settings


def submit_training(cluster: Cluster, shared: Path) -> Submitted:
    """The same command each time."""
    config = ("--config", "configs/runs/demo.yaml", *sets_of(*training_sets(shared)))
    return submit(cluster, "train", "python", "jobs/train.py", *config)


def sets_of(*assignments: str) -> list[str]:
    """Arguments of a job that set these keys."""
    return [part for each in assignments for part in ("--set", each)]


def until_step(job: Submitted, settings: TrainSettings, step: int) -> None:
    """Wait until the run has taken `step` and committed what is due by then."""
    due = step // COMMIT_EVERY * COMMIT_EVERY

    def reached() -> bool:
        steps = [row["step"] for row in read(metrics_path(settings.run_dir)) if row["kind"] == "step"]
        return max(steps, default=0) >= step and newest_step(settings) >= due

    job.until(reached, what=f"step {step}", timeout_s=START_S)


def newest_step(settings: TrainSettings) -> int:
    """Step of the newest checkpoint; 0 where there is none."""
    return max(CheckpointStore(settings.run_dir).steps(), default=0)


def summary_of(folder: Path) -> Mapping[str, Any]:
    """What a job left for those who cannot see its exit code."""
    tree: Mapping[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return tree


STAGES: Mapping[str, Stage] = {
    "strangers": refuse_strangers,
    "large-files": leave_large_files,
    "prepare": prepare,
    "train": train,
    "resume": resume,
    "sweep": sweep,
    "evaluate": evaluate,
}
