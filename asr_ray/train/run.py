"""A fine-tuning run on a Ray cluster: the only place that assembles `ray.train`."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from asr_ray.config import dump
from asr_ray.data.feed import PlannedFeed
from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.errors import AsrRayError, Interrupted, TrainingError
from asr_ray.files import write_whole
from asr_ray.model.nemo_file import sha256_of
from asr_ray.settings import TrainSettings
from asr_ray.train.capacity import Node, check_capacity
from asr_ray.train.checkpoint import CheckpointStore, RunState
from asr_ray.train.coverage import check_coverage, measure_coverage, write_coverage
from asr_ray.train.judging.choice import stop_reason
from asr_ray.train.judging.replay import replay_of
from asr_ray.train.setup import planned_data, resolved, with_absolute_paths
from asr_ray.train.survival.lock import only_run
from asr_ray.train.survival.stopping import stop_file
from asr_ray.train.vigil import fit, has_ended
from asr_ray.train.worker import TRAIN_DATASET, HearSigterm, WorkerTask, train_worker


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run ended.

    Attributes:
        best_model: `.nemo` of the best validated step.
        consumed_s: seconds in the weights, by "locale/source".
        planned_s: what the mixes asked for while each held, of the same total.
        stopped: why the run ended before its last step; None when it took all.
        replay: seconds of the replay locales, see `replay.replay_of`.
        validations: every validation, the base first.
    """

    run_dir: Path
    steps: int
    best_step: int | None
    best_model: Path
    best_sha256: str
    consumed_s: Mapping[str, float]
    planned_s: Mapping[str, float]
    validations: tuple[Mapping[str, Any], ...]
    elapsed_s: float
    stopped: str | None
    replay: Mapping[str, Mapping[str, float]]


def run_training(
    settings: TrainSettings,
    *,
    watch: Callable[[Path], None] | None = None,
    until_step: int | None = None,
) -> RunSummary:
    """Train, or go on training, the run in `settings.run_dir` on the connected Ray cluster.

    A first Ctrl-C asks the workers to commit a checkpoint and stop; a second one stops at once. Whoever
    creates `stop-requested` in the run folder asks for the same.

    Args:
        watch: called about twice a second with the run folder, to show progress.
        until_step: pause after this update, validated and committed; None goes on to `max_steps`. The
            schedule of the learning rate is that of the whole run.

    Raises:
        EnvironmentFault: the cluster cannot hold the workers and still read data, or storage takes no more.
        DataError: the tokenizer lacks too many characters of the texts, or shards cannot be read.
        ConfigError: another job trains in the same folder.
        TrainingError: the run failed for good.
        Interrupted: stopped on request, or paused at `until_step`; the same call without it goes on.
    """
    settings = resolved(with_absolute_paths(settings))
    with only_run(settings.run_dir):
        return _run(settings, watch=watch, until_step=until_step)


def _run(
    settings: TrainSettings, *, watch: Callable[[Path], None] | None, until_step: int | None
) -> RunSummary:
    check_capacity(settings.resources, nodes=cluster_nodes())
    planned = planned_data(settings)
    try:
        if not _is_finished(settings):
            _prepare_run_dir(settings)
            check_texts(settings, planned=planned)
            go_on = True
            while go_on:
                trainer = build_trainer(settings, planned=planned, until_step=until_step)
                go_on = fit(trainer, settings=settings, watch=watch)
            if until_step is not None and not _is_finished(settings):
                raise Interrupted(
                    f"{settings.run_dir}: paused at step {until_step}", fix="the same command goes on"
                )
        return _summarise(settings, planned=planned)
    except AsrRayError as error:
        # `ray job submit` flattens exit codes; whoever submitted reads this one.
        _write_json(settings.run_dir / "summary.json", {"exit_code": error.exit_code, "error": str(error)})
        raise


def cluster_nodes() -> list[Node]:
    """Return the living nodes of the connected cluster."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            labels=node["Labels"],
        )
        for node in alive
    ]


def _is_finished(settings: TrainSettings) -> bool:
    """Whether the run is over, by its steps or its guards, and has handed over its model."""
    return has_ended(settings) and (settings.run_dir / "best.nemo").exists()


def _prepare_run_dir(settings: TrainSettings) -> None:
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    (settings.run_dir / "config.yaml").write_text(dump(settings), encoding="utf-8")
    stop_file(settings.run_dir).unlink(missing_ok=True)


def check_texts(settings: TrainSettings, *, planned: PlannedData) -> None:
    """Leave in `coverage.json` what the tokenizer makes of the texts.

    Raises:
        DataError: it lacks more than `model.max_unknown_share`.
    """
    coverage = measure_coverage(planned)
    write_coverage(settings.run_dir / "coverage.json", coverage=coverage)
    check_coverage(coverage, max_unknown_share=settings.model.max_unknown_share)


def build_trainer(
    settings: TrainSettings, *, planned: PlannedData, until_step: int | None = None
) -> TorchTrainer:
    """Assemble the trainer of a run, and set what Ray Data is to keep to in this process from now on."""
    resources = settings.resources
    # An idle feed is normal during validation; Ray's guard would call it stuck.
    context = ray.data.DataContext.get_current()
    context.execution_no_progress_timeout_s = -1  # type: ignore[attr-defined]
    # The trainer takes the context along: every task of the feed is placed by it.
    context.execution_options.label_selector = resources.decode_labels
    return TorchTrainer(
        train_worker,  # type: ignore[arg-type]  # any picklable value is handed through
        train_loop_config=WorkerTask(settings, planned.plan.place_digest, planned.mixes_by_name, until_step),  # type: ignore[arg-type]
        torch_config=TorchConfig(
            backend="nccl" if resources.use_gpu else "gloo",
            # Only for what the watch over hanging ranks leaves over, for it knows which rank it is.
            timeout_s=max(1800, math.ceil(3 * resources.hang_timeout_s)),
        ),
        scaling_config=ScalingConfig(  # type: ignore[call-arg]  # the hints are those of Train V1
            num_workers=resources.num_workers,  # type: ignore[arg-type]
            use_gpu=resources.use_gpu,
            resources_per_worker={"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker},
            label_selector=resources.worker_labels,
        ),
        run_config=RunConfig(
            # Ray's own bookkeeping; checkpoints are ours and lie beside it.
            name="ray",
            storage_path=str(settings.run_dir),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            callbacks=[HearSigterm(settings.run_dir)],  # type: ignore[list-item]  # takes internal ones
        ),
        # Called at each start of the worker group; the real dataset is built in `configure`.
        datasets={TRAIN_DATASET: _placeholder},
        dataset_config=PlannedFeed(planned, resume=functools.partial(resume_point, settings)),
    )


def resume_point(settings: TrainSettings) -> ResumePoint | None:
    """Return where the newest committed checkpoint of a run stands; None starts from the beginning."""
    found = CheckpointStore(settings.run_dir).newest()
    if found is None:
        return None
    state = found[1]
    steps = state.step * settings.optim.accumulate
    return ResumePoint(
        position=state.position, world_size=state.world_size, steps_taken=steps, mixes=state.mixes
    )


def _placeholder() -> ray.data.Dataset:
    return ray.data.from_items([0])


def _summarise(settings: TrainSettings, *, planned: PlannedData) -> RunSummary:
    found = CheckpointStore(settings.run_dir).newest()
    best_model = settings.run_dir / "best.nemo"
    if found is None or not best_model.exists():
        raise TrainingError(
            f"{settings.run_dir}: the run ended without a model", fix="see its logs under ray/"
        )
    state: RunState = found[1]
    planned_s = planned_seconds(state, planned=planned)
    took_all = state.step >= settings.max_steps
    summary = RunSummary(
        run_dir=settings.run_dir,
        steps=state.step,
        best_step=state.best_step,
        best_model=best_model,
        best_sha256=sha256_of(best_model),
        consumed_s=state.consumed_s,
        planned_s=planned_s,
        validations=state.validations,
        elapsed_s=state.elapsed_s,
        stopped=None if took_all else stop_reason(state.validations, settings=settings),
        replay=replay_of(settings.data.mix, consumed_s=state.consumed_s, planned_s=planned_s),
    )
    write_summary(settings.run_dir, summary=summary)
    return summary


def planned_seconds(state: RunState, *, planned: PlannedData) -> dict[str, float]:
    """Return what the mixes up to a checkpoint asked for by "locale/source", of what was consumed in all."""
    # Steps do not matter here, only which mix held in which window.
    here = ResumePoint(position=state.position, world_size=state.world_size, steps_taken=0, mixes=state.mixes)
    plan = planned.continuing(here).plan
    targets = plan.target_seconds(state.position, total_s=sum(state.consumed_s.values()))
    return {"/".join(key): seconds for key, seconds in targets.items()}


def write_summary(run_dir: Path, *, summary: RunSummary) -> None:
    """Leave `summary.json`, with the exit code that `ray job submit` would flatten."""
    tree = {
        "exit_code": 0,
        "steps": summary.steps,
        "best_step": summary.best_step,
        "best_model": summary.best_model.name,
        "best_sha256": summary.best_sha256,
        "consumed_s": dict(summary.consumed_s),
        "planned_s": dict(summary.planned_s),
        "validations": [dict(entry) for entry in summary.validations],
        "elapsed_s": summary.elapsed_s,
        "stopped": summary.stopped,
        "replay": {tag: dict(seconds) for tag, seconds in summary.replay.items()},
    }
    _write_json(run_dir / "summary.json", tree)


def _write_json(path: Path, tree: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(tree, indent=1))
