"""The main thread while a trainer fits: shows progress, hears Ctrl-C, ends ranks that hang."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import ray
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asr_ray.errors import Interrupted
from asr_ray.settings import TrainSettings
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.judging.choice import is_over
from asr_ray.train.survival.causes import failure_of
from asr_ray.train.survival.pulse import Beat, Hang, HangWatch, clear_pulses, end_process, read_pulses
from asr_ray.train.survival.stopping import is_of_worker, request_stop, requested_by, stop_file

log = logging.getLogger(__name__)

_POLL_S = 0.5
_KILL_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 5.0


def fit(trainer: TorchTrainer, *, settings: TrainSettings, watch: Callable[[Path], None] | None) -> bool:
    """Run `fit` beside the main thread, which stays free.

    Returns:
        Whether it is to be called again: a worker had to go with its node, and all committed and ended for
        it. Each such start takes at least one step.

    Raises:
        AsrRayError: what the run failed of for good; see `causes.failure_of`.
        Interrupted: it was stopped on request, by whoever left the stop file.
    """
    failure: list[Exception] = []

    def run() -> None:
        try:
            trainer.fit()
        except (ray.train.TrainingFailedError, ray.exceptions.RayError, RuntimeError) as error:
            failure.append(error)

    run_dir = settings.run_dir
    clear_pulses(run_dir)
    vigil = Vigil(run_dir, timeout_s=settings.resources.hang_timeout_s)
    thread = threading.Thread(target=run, name="trainer", daemon=True)
    with StopOnSignal(run_dir) as stopping:
        thread.start()
        while thread.is_alive():
            thread.join(_POLL_S)
            vigil.look()
            if watch is not None:
                watch(run_dir)
        reason = requested_by(run_dir)
    clear_pulses(run_dir)
    if failure:
        raise failure_of(failure[0], run_dir=run_dir, hangs=vigil.hangs) from failure[0]
    if reason is None or has_ended(settings):
        return False
    if is_of_worker(reason) and not stopping.stopped:
        log.warning("%s, checkpoint committed: the run goes on with other workers", reason)
        return True
    raise Interrupted(f"{run_dir}: stopped by {reason}, checkpoint committed", fix="the same command resumes")


def has_ended(settings: TrainSettings) -> bool:
    """Whether the newest checkpoint of a run is its last: by its steps, or by its guards."""
    found = CheckpointStore(settings.run_dir).newest()
    return found is not None and is_over(found[1], settings=settings)


class Vigil:
    """Ends ranks that hang, so that Ray Train restarts their group from the newest checkpoint.

    Attributes:
        hangs: those that were found, in words.
    """

    def __init__(self, run_dir: Path, *, timeout_s: float) -> None:
        self.run_dir = run_dir
        self.hangs: list[str] = []
        self._watch = HangWatch(timeout_s=timeout_s)
        # Shared storage has better things to do.
        self._every_s = min(_LOOK_EVERY_S, timeout_s / 20)
        self._due_s = 0.0

    def look(self) -> None:
        """Look at the signs of all ranks, where it is time to."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + self._every_s
        hang = self._watch.look(read_pulses(self.run_dir))
        if hang is None:
            return
        # Of a group that is being restarted nothing moves either, but its processes are gone.
        ended = tuple(beat for beat in hang.ranks if _end_on_node(beat))
        if ended:
            self.hangs.append(str(Hang(ended, silent_s=hang.silent_s, frozen=hang.frozen)))
            log.warning("%s; its group starts again from the newest checkpoint", self.hangs[-1])


def _end_on_node(beat: Beat) -> bool:
    """Kill the process of a rank where it runs; false where it, or its node, is gone."""
    strategy = NodeAffinitySchedulingStrategy(node_id=beat.node, soft=False)
    task = ray.remote(end_process).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
    try:
        return bool(ray.get(task.remote(beat), timeout=_KILL_TIMEOUT_S))
    except ray.exceptions.RayError as error:
        log.warning("rank %d on %s cannot be reached: %s", beat.rank, beat.host, type(error).__name__)
        return False


class StopOnSignal:
    """First SIGINT or SIGTERM: ask for a checkpoint and a stop. Second: leave at once."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.stopped = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        stop_file(self.run_dir).unlink(missing_ok=True)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        request_stop(self.run_dir, by=signal.Signals(number).name)
