"""Sweeps on a real Ray cluster: pretended trials for what happens around them, real ones for the whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from asr_ray.errors import Interrupted, TrainingError
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.sweep.records import TrialRecord, read_records, trials_path
from asr_ray.sweep.run import run_sweep
from asr_ray.sweep.searching.search import propose
from asr_ray.sweep.space import Sweep, load_sweep
from asr_ray.testing.prepared import write_prepared
from asr_ray.testing.pretend import pretend, starts, write_base

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SWEEP = """
max_steps: 12
data:
  train: {root}/train
  validation: {root}/validation
  batch_s: 4.0
  window_utterances: 24
  mix: {{alpha: {{uniform: [0.0, 1.0]}}, replay: {{share: 0.3, locales: [en-US]}}}}
# The made-up words have letters that the tokenizer lacks.
model: {{base: {nemo}, max_unknown_share: 0.2}}
optim: {{warmup_steps: 2, peak_lr: {{loguniform: [1.0e-4, 1.0e-2]}}}}
validation: {{targets: [el-GR, bg-BG], guards: [en-US], every_steps: 4}}
checkpoint: {{every_steps: 4}}
# Two trials leave one of the cluster's four CPUs, which is exactly what reading needs.
resources: {{num_workers: 1, cpus_per_worker: 1.5, threads_per_worker: 1}}
sweep:
  out: {root}/sweep
  search: random
  num_trials: 3
  max_concurrent_trials: 2
  baselines: false
  finalists: null
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, micro_nemo: Path) -> Path:
    """Noise, of which one target is scarce, and the sweep file beside it."""
    root = tmp_path_factory.mktemp("sweep")
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    keys = {"el-GR": 60, "bg-BG": 12, "en-US": 40}
    write_prepared(
        root / "train", {(tag, "noise"): count for tag, count in keys.items()}, tokenizer=tokenizer
    )
    write_prepared(root / "validation", {(tag, "noise"): 3 for tag in keys}, tokenizer=tokenizer)
    (root / "sweep.yaml").write_text(SWEEP.format(root=root, nemo=micro_nemo))
    return root


def sweep_of(prepared: Path, out: Path, *sets: str) -> Sweep:
    """A sweep whose base model needs no decoding."""
    sweep = load_sweep(prepared / "sweep.yaml", sets=[f"sweep.out={out}", *sets])
    write_base(sweep.settings_of(sweep.configured, run_dir=out), out=out)
    return sweep


def ended(records: Mapping[str, TrialRecord]) -> dict[str, str]:
    return {name: record.status for name, record in records.items()}


def test_trials_are_searched_halved_repeated_and_tidied(prepared: Path, tmp_path: Path) -> None:
    sweep = sweep_of(
        prepared,
        tmp_path,
        "sweep.search=optuna",
        "sweep.num_trials=4",
        "sweep.baselines=true",
        "sweep.asha={first_rung_s: 40, reduction_factor: 2}",
        "sweep.finalists={count: 1, seeds: 2}",
    )
    seen: list[int] = []
    result = run_sweep(sweep, driver=pretend, watch=lambda records: seen.append(len(records)))
    records = result.records
    assert records == read_records(trials_path(tmp_path))
    assert seen[-1] == len(records)
    by_stage = {
        stage: [r for r in records.values() if r.stage == stage] for stage in ("baseline", "search", "seed")
    }
    assert [record.status for record in by_stage["baseline"]] == ["finished", "finished"]
    assert len(by_stage["search"]) == 4
    assert {record.status for record in by_stage["search"]} <= {"finished", "stopped"}
    for record in by_stage["search"]:
        if record.status == "stopped":
            assert "of audio" in record.reason
            assert not (Path(record.run_dir) / "checkpoints").exists()
    finished = [record for record in records.values() if record.status == "finished"]
    assert all(record.rungs[-1].step == 12 for record in finished)
    best = min((r for r in finished if r.stage != "seed"), key=lambda record: record.rungs[-1].objective)
    assert {record.repeats for record in by_stage["seed"]} == {
        best.name,
        *(r.name for r in by_stage["baseline"]),
    }
    assert {record.seed for record in by_stage["seed"]} == {best.seed + 1}
    assert (Path(best.run_dir) / "best.nemo").exists()
    # The same call finds everything done.
    assert ended(run_sweep(sweep, driver=pretend).records) == ended(records)
    assert all(starts(Path(record.run_dir)) == [0] for record in records.values())


@pytest.mark.slow
def test_a_trial_that_dies_is_written_down_and_ends_nothing(prepared: Path, tmp_path: Path) -> None:
    sweep = sweep_of(
        prepared,
        tmp_path,
        "sweep.search=grid",
        "optim.peak_lr={choice: [0.001, 5.0]}",
        "data.mix.alpha=0.5",
    )
    records = run_sweep(sweep, driver=pretend).records
    assert ended(records) == {"search-000": "finished", "search-001": "failed"}
    failed = records["search-001"]
    assert failed.attempts == 1 + sweep.settings.max_retries
    assert starts(Path(failed.run_dir)) == [0, 0]
    assert failed.reason


@pytest.mark.slow
def test_a_population_trains_in_segments(prepared: Path, tmp_path: Path) -> None:
    sets = ("sweep.search=pbt", "sweep.pbt={population: 3}", "optim.peak_lr=0.001")
    records = run_sweep(sweep_of(prepared, tmp_path, *sets), driver=pretend).records
    last = [records[f"pbt-02-{place:02d}"] for place in range(3)]
    assert [record.status for record in last] == ["finished"] * 3
    assert {record.rungs[-1].step for record in last} == {12}
    # Each segment begins where the one before it ended, with the weights of one of its members.
    assert [starts(Path(record.run_dir)) for record in last] == [[8]] * 3
    assert all([rung.step for rung in record.rungs] == [4, 8, 12] for record in last)
    assert {record.status for name, record in records.items() if not name.startswith("pbt-02")} == {"stopped"}


@pytest.mark.slow
def test_a_stop_keeps_what_runs_for_the_next_call(prepared: Path, tmp_path: Path) -> None:
    sweep = sweep_of(prepared, tmp_path, "max_steps=400", "sweep.num_trials=2")
    told: list[int] = []

    def interrupt(records: Mapping[str, TrialRecord]) -> None:
        running = [record for record in records.values() if record.status == "running" and record.rungs]
        if len(running) == 2 and not told:
            told.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_sweep(sweep, driver=pretend, watch=interrupt)
    assert set(ended(read_records(trials_path(tmp_path))).values()) == {"running"}
    assert json.loads((tmp_path / "summary.json").read_text())["exit_code"] == 6
    records = run_sweep(sweep, driver=pretend).records
    assert set(ended(records).values()) == {"finished"}
    for record in records.values():
        first, again = starts(Path(record.run_dir))
        assert first == 0 < again < 400


KILLED = """
import ray, sys
from pathlib import Path
from asr_ray.sweep.run import run_sweep
from asr_ray.sweep.space import load_sweep
from asr_ray.testing.pretend import pretend
ray.init(address=sys.argv[1], log_to_driver=False)
run_sweep(load_sweep(Path(sys.argv[2]), sets=sys.argv[3:]), driver=pretend)
"""


def test_a_killed_sweep_goes_on_with_the_same_trials(prepared: Path, tmp_path: Path) -> None:
    import ray

    sets = ("max_steps=60", "sweep.num_trials=4")
    sweep = sweep_of(prepared, tmp_path, *sets)
    address = ray.get_runtime_context().gcs_address
    arguments = [address, str(prepared / "sweep.yaml"), f"sweep.out={tmp_path}", *sets]
    driver = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    deadline = time.monotonic() + 240

    def far_enough() -> bool:
        records = read_records(trials_path(tmp_path)).values()
        return any(record.status == "finished" for record in records) and any(
            record.status == "running" and record.rungs for record in records
        )

    while not far_enough():
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = read_records(trials_path(tmp_path))
    records = run_sweep(sweep, driver=pretend).records

    assert len(records) == 4
    assert set(ended(records).values()) == {"finished"}
    assert all(records[name].values == record.values for name, record in before.items())
    started = {name: starts(Path(record.run_dir)) for name, record in records.items()}
    for name, record in before.items():
        if record.status == "finished":
            assert records[name] == record
            assert started[name] == [0]
        elif record.rungs:
            assert len(started[name]) == 2
            assert started[name][1] >= record.rungs[-1].step > 0
    # None is another than without the kill.
    assert [record.values for record in records.values()] == [
        propose(sweep, {}, number=number) for number in range(4)
    ]


@pytest.mark.slow
def test_a_sweep_without_a_whole_trial_is_a_failure(prepared: Path, tmp_path: Path) -> None:
    sweep = sweep_of(
        prepared, tmp_path, "sweep.num_trials=1", "optim.peak_lr={choice: [5.0]}", "sweep.max_retries=0"
    )
    with pytest.raises(TrainingError, match="not one of 1 trials"):
        run_sweep(sweep, driver=pretend)
    assert json.loads((tmp_path / "summary.json").read_text())["exit_code"] == 5


def test_real_trials_side_by_side(prepared: Path, tmp_path: Path) -> None:
    """One of the three cannot be trained: its tokenizer lacks too much. The base is decoded once."""
    sweep = load_sweep(
        prepared / "sweep.yaml",
        sets=[
            f"sweep.out={tmp_path}",
            "sweep.search=grid",
            "sweep.grid_points=2",
            "optim.peak_lr=0.001",
            "data.mix.alpha=0.5",
            "model.max_unknown_share={choice: [0.2, 0.0]}",
        ],
    )
    records = run_sweep(sweep).records
    assert ended(records) == {"search-000": "finished", "search-001": "failed"}
    assert "has no piece for" in records["search-001"].reason
    whole = records["search-000"]
    assert [rung.step for rung in whole.rungs] == [4, 8, 12]
    assert whole.rungs[-1].audio_s == pytest.approx(whole.audio_s)
    assert set(whole.rungs[-1].rates) == {"el-GR", "bg-BG", "en-US"}
    base, counts = (
        [json.loads(line) for line in (Path(whole.run_dir) / "validation" / f"step-{step:08d}.jsonl").open()]
        for step in (0, 12)
    )
    shared = json.loads((tmp_path / "base.json").read_text())
    assert base == shared["utterances"]
    assert [row["id"] for row in counts] == [row["id"] for row in base]
    assert Path(whole.counts).name == "step-00000012.jsonl"
