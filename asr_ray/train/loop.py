"""The training loop. Reads as if on one GPU; knows torch and our packages, but not Ray.

A run is a sequence of updates. Each takes `accumulate` batches from the plan, adds the gradients of
all ranks, and moves the weights once. Every random draw of a step is seeded from (seed, position),
so that a resumed run continues bit for bit and nothing random has to be saved.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr_ray.data.plan import Plan
from asr_ray.errors import TrainingError
from asr_ray.records import Batch, Position, Utterance
from asr_ray.settings import TrainSettings
from asr_ray.train import ledger as ledgers
from asr_ray.train.checkpoint import CheckpointStore, RunState
from asr_ray.train.group import Worker
from asr_ray.train.judging.base_scores import read_base_scores
from asr_ray.train.judging.choice import best_steps, is_over, stop_reason
from asr_ray.train.judging.validate import LocaleRates, counts_path, validate, write_rows
from asr_ray.train.schedule import learning_rate, validation_due
from asr_ray.train.step import (
    batch_losses,
    move_weights,
    objective_of,
    optimizer_of,
    restore_optimizer,
    trained_parameters,
)
from asr_ray.train.survival.pulse import EXCHANGING
from asr_ray.train.survival.stopping import stop_file
from asr_ray.train.telling.meter import Meter
from asr_ray.train.telling.trackers import RunLog

log = logging.getLogger(__name__)

_LOG_EVERY_STEPS = 10
_LOOK_EVERY_S = 5.0
"""Between two questions whether a node is about to be taken away; a notice is given minutes before."""


class Loop:
    """One run on one rank: model, optimizer, state, and the steps between them."""

    def __init__(
        self,
        settings: TrainSettings,
        *,
        model: nn.Module,
        worker: Worker,
        validation: Mapping[str, Sequence[Utterance]],
        plan_digest: str,
        mixes: Mapping[str, Mapping[str, float]] | None = None,
        until_step: int | None = None,
    ) -> None:
        self.settings = settings
        self.worker = worker
        self.until_step = min(settings.max_steps, until_step or settings.max_steps)
        self.validation = validation
        self.objective = objective_of(model, settings=settings, device=worker.device)
        self.parameters = trained_parameters(self.objective)
        self.optimizer = optimizer_of(self.objective, optim=settings.optim)
        self.store = CheckpointStore(settings.run_dir)
        self.ledger = ledgers.Ledger(settings.run_dir, rank=worker.rank)
        self.metrics = RunLog(settings)
        self.state = RunState(
            step=0,
            position=Position(),
            world_size=worker.world_size,
            plan_digest=plan_digest,
            mixes=mixes or {},
        )
        self.skipped_in_a_row = 0
        self.looked_s = time.monotonic()
        self.noticed = self.save_now = False
        self._restore()
        # DDP last: it broadcasts rank 0's weights, so all ranks start equal whatever they loaded.
        self.network: nn.Module = self.objective
        if worker.world_size > 1:
            self.network = DistributedDataParallel(self.objective)

    def run(self) -> RunState:
        """Train until `until_step`, until guards are lost or a stop is requested; return the committed state.

        Raises:
            TrainingError: too many non-finite steps in a row, or data out of order.
        """
        settings = self.settings
        if self._owes_validation():
            self._validate()
            if self.state.step == self.until_step:
                self._commit()
        batches = self.worker.batches(self.state.position)
        meter, started = Meter(), time.monotonic()
        base_elapsed_s = self.state.elapsed_s
        while not self._is_over():
            heard_s = self.state.audio_s
            stop = self._update(batches, meter)
            self.state = replace(self.state, elapsed_s=base_elapsed_s + time.monotonic() - started)
            step = self.state.step
            last = step == self.until_step
            meter = self._log(meter, force=last)
            due = validation_due(settings.validation, step=step, audio_s=(heard_s, self.state.audio_s))
            if not stop and (last or due):
                self._validate()
                meter = Meter()
            due = step % settings.checkpoint.every_steps == 0 or step in self._best_steps()
            if stop or due or self._is_over():
                self.save_now = True
            if self.save_now:
                self._commit()
                meter = Meter()
            if stop:
                break
        return self.state

    def _owes_validation(self) -> bool:
        """Whether a run begins, or was stopped at the very step at which it was to be judged."""
        if not self.state.validations:
            return True
        before, state = self.state.validations[-1], self.state
        due = validation_due(
            self.settings.validation, step=state.step, audio_s=(before["audio_s"], state.audio_s)
        )
        return state.step > before["step"] and (due or state.step == self.until_step)

    def _is_over(self) -> bool:
        return self.state.step >= self.until_step or is_over(self.state, settings=self.settings)

    def _update(self, batches: Iterator[Batch], meter: Meter) -> bool:
        """Take one optimizer step; return whether a stop was requested."""
        worker, optim = self.worker, self.settings.optim
        self.network.train()
        taken: list[Batch] = []
        loss_sum = 0.0
        for micro in range(optim.accumulate):
            waited = time.monotonic()
            worker.mark("waiting for data", self.state.step + 1)
            batch = self._next(batches)
            worker.mark("computing")
            meter.wait_s += time.monotonic() - waited
            seed_everything(self.settings.seed, position=batch.position, rank=worker.rank)
            with self._maybe_no_sync(last=micro == optim.accumulate - 1):
                losses = batch_losses(
                    self.network, batch, device=worker.device, bf16=self.settings.precision == "bf16"
                )
                worker.mark(EXCHANGING if worker.world_size > 1 else "computing")
                losses.sum().backward()
            loss_sum += float(losses.detach().sum())
            taken.append(batch)
        utterances, loss_sum, audio_s, stop, look = worker.sum(
            [
                sum(len(batch) for batch in taken),
                loss_sum,
                sum(batch.audio_s for batch in taken),
                self._stop_requested(),
                self._look_due(),
            ]
        )
        self._notice(look=look > 0)
        applied = self._step(scale=worker.world_size / max(1.0, utterances))
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            position=taken[-1].next_position,
            audio_s=self.state.audio_s + audio_s,
        )
        for batch in taken:
            self.ledger.add(batch, step=self.state.step, applied=applied)
        meter.add(utterances=utterances, loss_sum=loss_sum, audio_s=audio_s, applied=applied)
        self._guard_against_divergence(taken)
        return stop > 0

    def _step(self, *, scale: float) -> bool:
        """Move the weights by the mean gradient over all utterances of all ranks.

        DDP has averaged the gradients of the ranks' loss sums, so `scale` = world size / utterances
        makes them the mean per utterance (NeMo's `mean_batch`), whatever the batch of each rank. A
        non-finite gradient is the same on every rank by then: all skip it without asking each other.
        """
        optim = self.settings.optim
        finite = move_weights(
            self.optimizer,
            parameters=self.parameters,
            scale=scale,
            rate=learning_rate(self.state.step, optim=optim, max_steps=self.settings.max_steps),
            clip_norm=optim.clip_norm,
        )
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        return finite

    def _guard_against_divergence(self, taken: Sequence[Batch]) -> None:
        if self.skipped_in_a_row >= self.settings.max_nonfinite_steps:
            ids = ", ".join(taken[-1].ids[:5])
            raise TrainingError(
                f"step {self.state.step}: non-finite gradient {self.skipped_in_a_row} times in a row; "
                f"the last batch of rank {self.worker.rank} began with {ids}",
                fix="lower optim.peak_lr, or look at these utterances",
            )

    def _next(self, batches: Iterator[Batch]) -> Batch:
        batch = next(batches, None)
        if batch is None:
            raise TrainingError(
                f"step {self.state.step + 1}: the feed ended before max_steps",
                fix="prepare more data or lower max_steps",
            )
        return batch

    def _maybe_no_sync(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Exchange gradients only with the last batch of an update."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return contextlib.nullcontext()
        manager: contextlib.AbstractContextManager[None] = self.network.no_sync()
        return manager

    def _look_due(self) -> bool:
        """Whether it is time to ask about notices: rank 0 decides, for all have to ask together."""
        if self.worker.rank or time.monotonic() - self.looked_s < _LOOK_EVERY_S:
            return False
        self.looked_s = time.monotonic()
        return True

    def _notice(self, *, look: bool) -> None:
        """Have the next checkpoint at once when a node is about to be taken away; once for each start."""
        if look and not self.noticed and self.worker.leaving():
            self.noticed = self.save_now = True
            log.warning("a node of this run is about to be taken away: committing a checkpoint")

    def _stop_requested(self) -> bool:
        return self.worker.rank == 0 and stop_file(self.settings.run_dir).exists()

    def _log(self, meter: Meter, *, force: bool) -> Meter:
        if meter.steps < _LOG_EVERY_STEPS and not force:
            return meter
        if self.worker.rank == 0:
            rate = learning_rate(
                self.state.step - 1, optim=self.settings.optim, max_steps=self.settings.max_steps
            )
            row = {"kind": "step", "step": self.state.step, "lr": rate, "elapsed_s": self.state.elapsed_s}
            self.metrics.append(row | meter.row())
        return Meter()

    def _validate(self) -> None:
        """Judge the weights per locale and remember whether they are the best so far."""
        self.worker.mark("validating")
        started = time.monotonic()
        scores = self._scores()
        entry = {"step": self.state.step, "audio_s": self.state.audio_s, "locales": scores}
        self.state = replace(self.state, validations=(*self.state.validations, entry))
        best = next(iter(self._best_steps()), None)
        self.state = replace(self.state, best_step=best)
        consumed_s = self._consumed_s()
        if self.worker.rank == 0:
            row = {"kind": "validation", **entry, "best_step": best, "took_s": time.monotonic() - started}
            self.metrics.append(row | {"elapsed_s": self.state.elapsed_s, "consumed_s": consumed_s})
            self._say_if_stopped()
        rates = {f"rate/{tag}": score["rate"] for tag, score in scores.items()}
        self.worker.report({"step": self.state.step, "audio_s": self.state.audio_s} | rates)

    def _scores(self) -> LocaleRates:
        """Decode the validation utterances; what a base model writes may be known already."""
        file = counts_path(self.settings.run_dir, step=self.state.step)
        known = self.settings.validation.base_scores
        if self.state.step == 0 and known is not None:
            base = read_base_scores(known, settings=self.settings)
            if self.worker.rank == 0:
                write_rows(file, base.rows)
            return base.locales
        return validate(
            self.objective.model,
            utterances=self.validation,
            worker=self.worker,
            settings=self.settings,
            counts_file=file,
        )

    def _say_if_stopped(self) -> None:
        reason = stop_reason(self.state.validations, settings=self.settings)
        if reason is not None and self.state.step < self.settings.max_steps:
            log.warning("the run ends at step %d: %s", self.state.step, reason)
            self.metrics.append({"kind": "stopped", "step": self.state.step, "reason": reason})

    def _best_steps(self) -> list[int]:
        """The validated steps whose checkpoints are kept for the end of the run, the best first."""
        return best_steps(self.state.validations, settings=self.settings)

    def _consumed_s(self) -> dict[str, float]:
        """Seconds in the weights of all ranks by "locale/source", those of the next commit included."""
        consumed = dict(self.state.consumed_s)
        for part in self.worker.gather(self.ledger.seconds()):
            for key, seconds in part.items():
                consumed[key] = consumed.get(key, 0.0) + seconds
        return consumed

    def _commit(self) -> None:
        """Make the ledger, then the checkpoint durable; older checkpoints go."""
        self.save_now = False
        self.state = replace(self.state, consumed_s=self._consumed_s())
        self.ledger.flush(step=self.state.step)
        # All parts of the ledger must be on disk before the checkpoint that claims them.
        self.worker.barrier()
        self.worker.mark("saving a checkpoint")
        if self.worker.rank == 0:
            self.store.commit(
                self.state,
                writers={
                    "model.pt": lambda path: torch.save(self.objective.state_dict(), path),
                    "optimizer.pt": lambda path: torch.save(self.optimizer.state_dict(), path),
                },
            )
            self.store.prune(keep=self.settings.checkpoint.keep, pinned=self._best_steps())

    def _restore(self) -> None:
        """Continue from the newest committed checkpoint, if there is one."""
        found = self.store.newest()
        if found is None:
            step = 0
        else:
            path, state = found
            check_same_plan(state, plan_digest=self.state.plan_digest, run_dir=self.settings.run_dir)
            load_weights(self.objective, path, device=self.worker.device)
            restore_optimizer(self.optimizer, _load(path / "optimizer.pt", device=self.worker.device))
            # On another number of ranks the rest of the window is cut anew; no row is lost or repeated.
            position = Plan.resume(
                state.position, old_world_size=state.world_size, new_world_size=self.worker.world_size
            )
            # What was read before was read by mixes that the configuration may no longer name.
            mixes = {**self.state.mixes, **state.mixes}
            self.state = replace(state, position=position, world_size=self.worker.world_size, mixes=mixes)
            step = state.step
        if self.worker.rank == 0:
            ledgers.truncate(self.settings.run_dir, step=step)
            self.metrics.start(step=step if found else -1)
        self.worker.barrier()


def load_weights(objective: nn.Module, checkpoint: Path, *, device: torch.device) -> None:
    """Load `model.pt` of a checkpoint folder.

    Raises:
        TrainingError: the weights are of another model or have other adapters.
    """
    try:
        objective.load_state_dict(_load(checkpoint / "model.pt", device=device))
    except RuntimeError as error:
        raise TrainingError(
            f"{checkpoint} does not fit the configuration: {str(error).splitlines()[0]}",
            fix="restore model.base, model.lora and model.auxiliary_ctc_weight, or choose a new run_dir",
        ) from error


def _load(path: Path, *, device: torch.device) -> Any:
    return torch.load(path, map_location=device, weights_only=True)


def check_same_plan(state: RunState, *, plan_digest: str, run_dir: Path) -> None:
    """Raise TrainingError when a run's data changed since its checkpoint; its mix may."""
    if state.plan_digest != plan_digest:
        raise TrainingError(
            f"{run_dir}: the data, seed, speeds, costs or budget differ from those of step {state.step}",
            fix="restore the configuration, or choose a new run_dir to start afresh",
        )


def seed_everything(seed: int, *, position: Position, rank: int) -> None:
    """Derive every random draw of a step (dropout, SpecAugment, context) from its place in the plan."""
    # After a change of world size the steps of a window are counted anew: `earlier` keeps them apart.
    earlier = [number for cut in position.earlier for number in cut]
    sequence = np.random.SeedSequence([seed, position.epoch, position.window, position.step, rank, *earlier])
    torch_seed, python_seed = (int(word) for word in sequence.generate_state(2))
    torch.manual_seed(torch_seed)
    random.seed(python_seed)
