"""A sweep on a Ray cluster: trials in stages, each written down as it goes, and a decision at the end.

    base       the untuned model is scored once, for all
    explore    baselines, and what the search proposes
    check      the mix that a proxy design predicts to be best
    seeds      finalists and baselines with other seeds
    test       finalists and baselines on the test set

Every stage is a list of trials in the book, or what comes next given the book. So the same call after a
kill finds the same trials: those that ended are not run again, the others go on from their checkpoints.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune import TuneError

from asr_ray.data.catalog import Catalog
from asr_ray.errors import AsrRayError, ConfigError, Interrupted, TrainingError
from asr_ray.files import write_whole
from asr_ray.settings import TrainSettings
from asr_ray.sweep.book import BASE_SCORES, Book
from asr_ray.sweep.deciding.conclude import Conclusion, conclude, policy_of
from asr_ray.sweep.deciding.counts import counts_of, read_counts
from asr_ray.sweep.deciding.proxy import design
from asr_ray.sweep.finals import score_finals
from asr_ray.sweep.folder import alone_in, check_unchanged
from asr_ray.sweep.mixes import hours_by_locale
from asr_ray.sweep.pages.files import write_conclusion
from asr_ray.sweep.records import DONE, Stage, TrialRecord
from asr_ray.sweep.room import trials_at_once
from asr_ray.sweep.searching.halving import leaders
from asr_ray.sweep.searching.population import Member, check_population, generation, num_generations
from asr_ray.sweep.searching.proxies import predicted_mix
from asr_ray.sweep.searching.search import check_search, propose
from asr_ray.sweep.space import RATIOS, Sweep
from asr_ray.sweep.trial import Driver, Task, drive, tidy
from asr_ray.sweep.tuner import Next, run_trials
from asr_ray.train.judging.base_scores import BaseScores, measure_base, read_base_scores
from asr_ray.train.run import cluster_nodes
from asr_ray.train.setup import resolved, with_absolute_paths
from asr_ray.train.survival.causes import failure_of
from asr_ray.train.survival.stopping import request_stop
from asr_ray.train.vigil import StopOnSignal

_POLL_S = 0.5

Watch = Callable[[Mapping[str, TrialRecord]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep ended; the files of `conclusion` lie in `out`."""

    out: Path
    records: Mapping[str, TrialRecord]
    conclusion: Conclusion


def run_sweep(sweep: Sweep, *, watch: Watch | None = None, driver: Driver = drive) -> SweepResult:
    """Run a sweep, or go on with it, on the connected Ray cluster.

    A first Ctrl-C asks all trials to commit a checkpoint and stop; a second one stops at once.

    Args:
        watch: called about twice a second with the trials, to show progress.
        driver: makes the runs; another one than training itself is for tests.

    Raises:
        ConfigError: the folder holds a sweep of another configuration.
        EnvironmentFault: not one trial fits into the cluster, or another process works in the folder.
        TrainingError: all trials failed.
        Interrupted: stopped on request; the same call goes on.
    """
    out = sweep.settings.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with alone_in(out):
            return _Run(sweep, watch=watch, driver=driver).run()
    except AsrRayError as error:
        # `ray job submit` flattens exit codes; whoever submitted reads this one.
        write_whole(out / "summary.json", json.dumps({"exit_code": error.exit_code, "error": str(error)}))
        raise


class _Run:
    """One call of `run_sweep`."""

    def __init__(self, sweep: Sweep, *, watch: Watch | None, driver: Driver) -> None:
        check_search(sweep)
        if sweep.settings.search == "pbt":
            check_population(sweep)
        out = sweep.settings.out.resolve()
        check_unchanged(sweep, path=out / "sweep.json")
        configured = sweep.settings_of(sweep.configured, run_dir=out)
        self.settings: TrainSettings = resolved(with_absolute_paths(configured))
        catalog = Catalog.read(self.settings.data.train / "catalog.parquet")
        self.sweep = sweep.with_hours(hours_by_locale(catalog.seconds_by_key))
        self.at_once = trials_at_once(
            self.settings.resources, nodes=cluster_nodes(), wanted=sweep.settings.max_concurrent_trials
        )
        self.book = Book(self.sweep, seconds_by_key=catalog.seconds_by_key)
        self.watch, self.driver = watch, driver
        self.stopping = threading.Event()
        self.base = BaseScores({}, ())

    def run(self) -> SweepResult:
        """Go through the stages."""
        self.base = self._base_scores()
        baselines = self._baselines() if self.sweep.settings.baselines else []
        match self.sweep.settings.search:
            case "grid":
                grid = enumerate(self.sweep.grid())
                names = [self._plan(f"search-{number:03d}", values) for number, values in grid]
                self._train([*baselines, *names])
            case "pbt":
                self._evolve(baselines)
            case "proxy":
                self._check_prediction(baselines)
            case _:
                names = [name for name, each in self.book.records.items() if each.stage == "search"]
                self._train([*baselines, *names], more=self._propose)
        if not leaders(self.book.records, count=1):
            failed = [each for each in self.book.records.values() if each.reason]
            raise TrainingError(
                f"{self.book.out}: not one of {len(self.book.records)} trials was trained to the end"
                + (f"; {failed[0].name}: {failed[0].reason}" if failed else ""),
                fix="mend the cause and choose another sweep.out, or remove trials.jsonl there",
            )
        finalists = self._finalists()
        self._train(self._seeds(finalists))
        return self._conclude(self._test(finalists))

    def _test(self, finalists: Sequence[str]) -> Path | None:
        """Score finalists and their repetitions on the test set; return the counts of the untuned model."""
        if self.sweep.settings.test is None:
            return None
        finished = [each for each in self.book.records.values() if each.status == "finished"]
        names = [each.name for each in finished if {each.name, each.repeats} & {*finalists}]
        return score_finals(self.book, names=names, settings=self.settings)

    def _conclude(self, test_base: Path | None) -> SweepResult:
        records = self.book.records
        conclusion = conclude(
            self.sweep,
            records=records,
            base_counts=counts_of(self.base.rows),
            test_base_counts=read_counts(test_base) if test_base else None,
            seconds_by_key=self.book.seconds_by_key,
        )
        write_conclusion(self.book.out, conclusion)
        summary = {"exit_code": 0, "winner": conclusion.decision.winner, "trials": len(records)}
        write_whole(self.book.out / "summary.json", json.dumps(summary, indent=1))
        return SweepResult(out=self.book.out, records=records, conclusion=conclusion)

    def _base_scores(self) -> BaseScores:
        """What the untuned model makes of the validation set, measured once where a worker would stand."""
        path = self.book.out / BASE_SCORES
        if not path.exists():
            resources = self.settings.resources
            measure: Any = ray.remote(measure_base)  # type: ignore[arg-type]  # takes keywords as well
            task = measure.options(
                num_cpus=resources.cpus_per_worker,
                num_gpus=resources.gpus_per_worker,
                label_selector=resources.worker_labels,
            )
            ray.get(task.remote(self.settings, path=path))
        return read_base_scores(path, settings=self.settings)

    @property
    def _base_rates(self) -> dict[str, float]:
        return {locale: score["rate"] for locale, score in self.base.locales.items()}

    def _baselines(self) -> list[str]:
        return [
            self.book.plan(f"baseline-{name}", values, stage="baseline").name
            for name, values in self.sweep.baselines().items()
        ]

    def _plan(self, name: str, values: Mapping[str, Any], *, stage: Stage = "search") -> str:
        return self.book.plan(name, values, stage=stage).name

    def _propose(self) -> TrialRecord | None:
        records = self.book.records
        number = sum(record.stage == "search" for record in records.values())
        if number >= self.sweep.settings.num_trials:
            return None
        values = propose(self.sweep, records, number=number)
        return self.book.plan(f"search-{number:03d}", values, stage="search")

    def _evolve(self, baselines: Sequence[str]) -> None:
        """Train the population, segment by segment."""
        last = num_generations(self.sweep) - 1
        for number in range(last + 1):
            members = {
                member.name: member for member in generation(self.sweep, self.book.records, number=number)
            }
            names = [self._plan(member.name, member.values) for member in members.values()]
            self._train([*baselines, *names], members=members, is_last=number == last)

    def _check_prediction(self, baselines: Sequence[str]) -> None:
        """Train the designed mixes, fit them, and train the mix that the fit predicts to be best."""
        if self.sweep.simplex is None:
            raise ConfigError(
                "a proxy design needs groups of locales", fix="give data.mix.ratios as a simplex"
            )
        designed = [
            self._plan(f"proxy-{name}", {RATIOS: shares}, stage="proxy")
            for name, shares in design(self.sweep.simplex).items()
        ]
        self._train([*baselines, *designed])
        policy = policy_of(self.settings.validation)
        found = predicted_mix(self.sweep, self.book.records, base=self._base_rates, policy=policy)
        write_whole(self.book.out / "prediction.json", json.dumps(asdict(found), indent=1))
        self._train([self._plan("check-predicted", {RATIOS: found.shares}, stage="check")])

    def _finalists(self) -> list[str]:
        """Return the best trials, and the baselines to compare them with."""
        records = self.book.records
        chosen = self._best()
        if self._keeps_baselines:
            chosen += [
                name
                for name, each in records.items()
                if each.stage == "baseline" and each.status == "finished"
            ]
        return chosen

    @property
    def _keeps_baselines(self) -> bool:
        wanted = self.sweep.settings.finalists
        return wanted is None or wanted.baselines

    def _best(self) -> list[str]:
        wanted = self.sweep.settings.finalists
        count = wanted.count if wanted else 1
        # Baselines that are compared anyway take no place from a trial that may be better than they are.
        but = ("baseline",) if self._keeps_baselines else ()
        # A prediction rests on all runs of a design; the best single one of them is best partly by luck.
        checked = [
            name
            for name, each in self.book.records.items()
            if each.stage == "check" and each.status == "finished"
        ]
        return [*checked, *leaders(self.book.records, count=count, but=(*but, "check"))][:count]

    def _seeds(self, chosen: Sequence[str]) -> list[str]:
        """Write down the runs of the finalists with other seeds."""
        wanted, records = self.sweep.settings.finalists, self.book.records
        if wanted is None:
            return []
        planned = []
        # Seed by seed, so that a sweep that is cut short has compared all of them equally often.
        for extra in range(1, wanted.seeds):
            for name in chosen:
                own = records[name]
                repeated = self.book.plan(
                    f"{name}-seed{extra + 1}", own.values, stage="seed", seed=own.seed + extra, repeats=name
                )
                planned.append(repeated.name)
        return planned

    def _train(
        self,
        names: Sequence[str],
        *,
        more: Next = lambda: None,
        members: Mapping[str, Member] = {},
        is_last: bool = True,
    ) -> None:
        """Train what is open, in a thread beside this one, which shows progress and hears Ctrl-C."""
        open_names = [name for name in names if self.book.records[name].status not in DONE]
        if not open_names:
            proposed = more()
            if proposed is None:
                return
            open_names = [proposed.name]

        def task_of(record: TrialRecord) -> Task:
            member = members.get(record.name)
            return Task(
                name=record.name,
                settings=self.book.settings_of(record),
                retries=self.sweep.settings.max_retries,
                until_step=None if member is None or is_last else member.until_step,
                parent=Path(self.book.records[member.parent].run_dir) if member and member.parent else None,
            )

        failure: list[Exception] = []
        ended = threading.Event()

        def fit() -> None:
            try:
                run_trials(
                    self.book,
                    names=open_names,
                    more=more,
                    task_of=task_of,
                    base=self._base_rates,
                    at_once=self.at_once,
                    stopping=self.stopping,
                    driver=self.driver,
                )
            except (AsrRayError, ray.exceptions.RayError, TuneError, RuntimeError) as error:
                failure.append(error)
            else:
                ended.set()

        thread = threading.Thread(target=fit, name="sweep", daemon=True)
        signals = StopOnSignal(self.book.out)
        with signals:
            thread.start()
            while thread.is_alive():
                thread.join(_POLL_S)
                self._look(asked_to_stop=signals.stopped)
        if failure:
            raise failure_of(failure[0], run_dir=self.book.out) from failure[0]
        if not ended.is_set():
            raise TrainingError(
                f"{self.book.out}: the thread that runs Ray Tune ended with the error above",
                fix="the same command goes on",
            )
        if self.stopping.is_set():
            raise Interrupted(
                f"{self.book.out}: stopped, checkpoints of its trials committed",
                fix="the same command resumes",
            )
        self._tidy(parents={member.name for member in members.values()} if not is_last else set())

    def _look(self, *, asked_to_stop: bool) -> None:
        records = self.book.records
        if self.watch is not None:
            self.watch(records)
        if asked_to_stop:
            self.stopping.set()
            for record in records.values():
                if record.status == "running" and Path(record.run_dir).is_dir():
                    # Again and again: a run that is just beginning removes what it finds.
                    request_stop(Path(record.run_dir), by="its sweep")

    def _tidy(self, *, parents: set[str]) -> None:
        """Remove the weights of trials that lost; what is still to be compared, or gone on from, stays."""
        records = self.book.records
        kept = {*self._best(), *parents}
        for name, record in records.items():
            if name in kept or record.status not in DONE or record.stage in ("baseline", "seed"):
                continue
            tidy(Path(record.run_dir))
