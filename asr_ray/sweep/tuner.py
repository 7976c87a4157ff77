"""Trials side by side under Ray Tune: it places the drivers, brings back those that die, and asks for more.

Tune keeps nothing that counts. What a trial is, how far it came and what comes next stands in the book of
the sweep, so each start of a sweep is a new experiment of Tune over the trials that are still open.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from asr_ray.evaluate.objective import GuardPolicy, judge
from asr_ray.sweep.book import Book
from asr_ray.sweep.deciding.conclude import policy_of
from asr_ray.sweep.records import DONE as ENDED
from asr_ray.sweep.records import Rung, TrialRecord
from asr_ray.sweep.searching.halving import reason_to_stop
from asr_ray.sweep.trial import DONE, FAILED, PAUSED, RUNG, Driver, Task, drive
from asr_ray.train.judging.validate import counts_path
from asr_ray.train.survival.stopping import request_stop

log = logging.getLogger(__name__)

_DRIVER: dict[str, float] = {"memory": 1}
"""What Tune books for a trial: a byte, as it refuses to book nothing. The trial's workers take what it needs.
No part of a CPU: a hundredth for each would leave less than the one whole CPU that reading data waits for."""

Next = Callable[[], TrialRecord | None]
"""Returns another trial to run, or None when there is none."""


def run_trials(
    book: Book,
    *,
    names: Sequence[str],
    more: Next,
    task_of: Callable[[TrialRecord], Task],
    base: Mapping[str, float],
    at_once: int,
    stopping: threading.Event,
    driver: Driver = drive,
) -> None:
    """Run trials until none is left, and write down what becomes of them.

    Args:
        names: trials to run first, in this order; those that ended are passed over.
        more: asked when one can be started and no name is left.
        base: locale -> error rate of the untuned model.
        at_once: trials side by side.
        stopping: when set, no trial is started any more.
        driver: makes the run of a task, in a process of its own.
    """
    # The new display of Tune draws tables even when told to be silent.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    clerk = Clerk(book, base=base)
    line = Line(book, names=names, more=more, task_of=task_of, stopping=stopping, driver=driver)
    tuner = tune.Tuner(
        tune.with_resources(_drive, _DRIVER),
        tune_config=tune.TuneConfig(
            search_alg=line,
            num_samples=-1,
            max_concurrent_trials=at_once,
            # A driver imports for seconds before it begins; one after the other can be the same process.
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(book.out / "ray"),
            callbacks=[clerk],
            failure_config=tune.FailureConfig(max_failures=book.sweep.settings.max_retries),
            verbose=0,
        ),
    )
    tuner.fit()


def _drive(config: Mapping[str, Any]) -> None:
    """What Tune starts in a process of its own for each trial."""
    driver: Driver = config["driver"]
    driver(config["task"], tell=lambda said: tune.report({"said": dict(said)}))


class Line(Searcher):
    """The trials that wait, as Tune asks for them."""

    def __init__(
        self,
        book: Book,
        *,
        names: Sequence[str],
        more: Next,
        task_of: Callable[[TrialRecord], Task],
        stopping: threading.Event,
        driver: Driver,
    ) -> None:
        super().__init__()  # without a metric: Tune is to optimise nothing
        self.book, self.more, self.task_of, self.stopping = book, more, task_of, stopping
        self.driver = driver
        self.names = deque(names)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the configuration of another trial, or that there is none."""
        record = None if self.stopping.is_set() else self._next()
        if record is None:
            return Searcher.FINISHED  # type: ignore[return-value]  # a text, as Tune wants it
        return {"name": record.name, "task": self.task_of(record), "driver": self.driver}

    def _next(self) -> TrialRecord | None:
        while self.names:
            waiting = self.book.records[self.names.popleft()]
            if waiting.status not in ENDED:
                return waiting
        record = self.more()
        while record is not None and record.status in ENDED:
            record = self.more()
        return record

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to learn: proposals are made from the book."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes down what it is given, to be restored, which never happens."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the book is kept."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: each start is a new experiment."""


class Clerk(Callback):
    """Writes down what trials tell, and asks those to stop that fell behind."""

    def __init__(self, book: Book, *, base: Mapping[str, float]) -> None:
        self.book, self.base = book, base

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, see `Line`."""
        return {}

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Count the attempt."""
        record = self.book.records[_name(trial)]
        if record.status not in ENDED:
            self.book.update(record.name, status="running", attempts=record.attempts + 1)

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        """Take in a validation or an end."""
        name, said = _name(trial), result.get("said", {})
        record = self.book.records[name]
        if RUNG in said:
            self._validated(record, said[RUNG])
        elif DONE in said and record.status == "running":
            self._ended(record, said[DONE])
        elif PAUSED in said:
            # Of a trial that was ended the status stands; one that was interrupted goes on another time.
            self.book.update(name, **_consumption(said[PAUSED]))
        elif FAILED in said:
            self.book.update(name, status="failed", reason=said[FAILED])

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A driver died too often."""
        lines = str(trial.get_error() or "the driver of the trial died").strip().splitlines()
        self.book.update(_name(trial), status="failed", reason=lines[-1].strip())

    def _ended(self, record: TrialRecord, state: Mapping[str, Any]) -> None:
        max_steps = self.book.settings_of(record).max_steps
        if int(state["step"]) >= max_steps:
            self.book.update(record.name, status="finished", **_consumption(state))
            return
        reason = state.get("reason") or f"a segment that ends at step {state['step']} of {max_steps}"
        self.book.update(record.name, status="stopped", reason=reason, **_consumption(state))

    def _validated(self, record: TrialRecord, row: Mapping[str, Any]) -> None:
        settings = self.book.settings_of(record)
        rung = rung_of(row, base=self.base, policy=policy_of(settings.validation))
        if any(known.step == rung.step for known in record.rungs):
            return  # told again by a driver that was started again
        file = counts_path(Path(record.run_dir), step=rung.step)
        elapsed_s = float(row["elapsed_s"])
        record = self.book.update(
            record.name, rungs=(*record.rungs, rung), counts=str(file), elapsed_s=elapsed_s
        )
        sweep = self.book.sweep.settings
        asha = sweep.asha if sweep.search in ("random", "optuna") else None
        if asha is None or rung.step >= settings.max_steps:
            return
        total_s = rung.audio_s / rung.step * settings.max_steps
        reason = reason_to_stop(record.name, self.book.records, asha=asha, total_s=total_s)
        if reason is not None:
            self.book.update(record.name, status="stopped", reason=reason)
            # The run commits and ends by itself: nothing is killed, so nothing leaks.
            request_stop(Path(record.run_dir), by="its sweep")


def _name(trial: Trial) -> str:
    return str(trial.config["name"])


def _consumption(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: state[key] for key in ("consumed_s", "elapsed_s") if key in state}


def rung_of(row: Mapping[str, Any], *, base: Mapping[str, float], policy: GuardPolicy) -> Rung:
    """Return a row of kind "validation" of `metrics.jsonl` as a rung."""
    rates = {locale: float(score["rate"]) for locale, score in row["locales"].items()}
    judged = judge(rates, base=base, policy=policy)
    return Rung(
        step=int(row["step"]),
        audio_s=float(row["audio_s"]),
        rates=rates,
        objective=judged.objective,
        excess=judged.excess,
        broken=judged.broken,
    )
