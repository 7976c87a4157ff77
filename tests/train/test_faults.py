"""Two real ranks that are killed, frozen or fail at every moment: the run goes on as if nothing had been."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from asr_ray.config import load
from asr_ray.data.assemble import Assembler
from asr_ray.model.nemo_file import load_model
from asr_ray.model.prompt import prompt_table
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.records import Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.testing.faults import Kind, Moment, RankFault
from asr_ray.testing.prepared import noise_utterances
from asr_ray.testing.ranks import Ended, run_ranks
from asr_ray.train import ledger
from asr_ray.train.checkpoint import CheckpointStore
from asr_ray.train.group import Worker
from asr_ray.train.loop import Loop
from asr_ray.train.survival.lock import only_workers
from asr_ray.train.survival.pulse import Pulse
from asr_ray.train.survival.stopping import request_stop, requested_by
from tests.train.runs import booked, weights_hash

MAX_STEPS = 6
RANKS = 2
UTTERANCES = list(noise_utterances(("el-GR", "radio"), count=10, seconds=(0.3, 0.5)))
HELD_OUT = {"el-GR": list(noise_utterances(("el-GR", "studio"), count=2, seconds=(0.3, 0.4)))}
BATCH = 2
HANG_TIMEOUT_S = 30.0
"""Long enough for a machine that does much else; where nothing hangs, even longer."""


def ids_at(step: int, *, rank: int) -> list[int]:
    first = (step * RANKS + rank) * BATCH
    return [index % len(UTTERANCES) for index in range(first, first + BATCH)]


def settings_for(run_dir: Path, *, base: Path) -> TrainSettings:
    sets = [
        *(f"run_dir={run_dir}", "data.train=t", "data.validation=v", f"model.base={base}"),
        *(f"max_steps={MAX_STEPS}", "optim.warmup_steps=1", "optim.peak_lr=1e-2"),
        *("validation.targets=[el-GR]", "validation.every_steps=3", "checkpoint.every_steps=2"),
    ]
    return load(None, schema=TrainSettings, sets=sets).settings


def train(
    settings: TrainSettings, fault: RankFault | None, nan_on: int | None, *, rank: int, world_size: int
) -> None:
    """One rank: the loop as a worker of Ray Train runs it, with a feed that is made up."""
    torch.set_num_threads(1)
    run_dir = settings.run_dir
    mine = fault if fault is not None and fault.rank == rank else None
    signal.signal(signal.SIGTERM, lambda *_: request_stop(run_dir, by=f"SIGTERM to rank {rank}"))
    model = load_model(Path(str(settings.model.base)))
    assembler = Assembler(
        tokenizer=NemoTokenizer.from_nemo(Path(str(settings.model.base))),
        prompts=prompt_table(model),
        prompt_mode="langID",
        auto_share=0.0,
        append_tags=False,
        seed=1,
    )
    pulse = Pulse(run_dir, rank=rank, node="", timeout_s=HANG_TIMEOUT_S)

    def mark(doing: str, step: int | None = None) -> None:
        pulse.mark(doing, step)
        if mine is not None and not (mine.moment == "saving" and rank == 0):
            mine.mark(doing, step)

    def batches(start: Position) -> Iterator[Batch]:
        for step in itertools.count(start.step):
            chosen = [UTTERANCES[index] for index in ids_at(step, rank=rank)]
            after = Position(0, 0, step + 1)
            yield assembler.assemble(chosen, position=Position(0, 0, step), after=after)

    if mine is not None and mine.moment == "saving" and rank == 0:
        strike_between_two_files(mine)
    worker = Worker(
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
        batches=batches,
        report=lambda metrics: None,
        mark=mark,
    )
    with pulse, only_workers(run_dir, rank=rank, barrier=worker.barrier):
        loop = Loop(settings, model=model, worker=worker, validation=HELD_OUT, plan_digest="plan")
        if nan_on == rank:
            with torch.no_grad():
                spoil_gradient(loop)
        loop.run()


def strike_between_two_files(fault: RankFault) -> None:
    """Rank 0 is struck when the weights of a checkpoint are written and the optimizer's state is not."""
    save = torch.save

    def saving(value: Any, path: Path) -> None:
        if path.name == "optimizer.pt":
            path.write_bytes(b"half of it")
            fault.strike()
        save(value, path)

    torch.save = saving


def spoil_gradient(loop: Loop) -> None:
    """Make one weight's gradient NaN on this rank, in the third step only."""
    weight = loop.parameters[0]

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * torch.nan if loop.state.step == 2 else gradient

    weight.register_hook(spoil)


DUE = {
    (step + 1, rank): [UTTERANCES[index].id for index in ids_at(step, rank=rank)]
    for step in range(MAX_STEPS)
    for rank in range(RANKS)
}


def run(settings: TrainSettings, fault: RankFault | None = None, nan_on: int | None = None) -> Ended:
    return run_ranks(
        train,
        settings,
        fault,
        nan_on,
        world_size=RANKS,
        run_dir=settings.run_dir,
        hang_timeout_s=HANG_TIMEOUT_S if fault is not None and fault.kind == "SIGSTOP" else 300.0,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, micro_nemo: Path) -> str:
    """Hash of the weights that a run without faults ends with."""
    settings = settings_for(tmp_path_factory.mktemp("whole"), base=micro_nemo)
    assert run(settings).well
    assert booked(settings.run_dir) == DUE
    return weights_hash(settings.run_dir, step=MAX_STEPS)


CELLS = [
    pytest.param(kind, rank, moment, marks=() if (kind, rank, moment) in quick else pytest.mark.slow)
    for quick in [
        {
            ("SIGKILL", 0, "saving"),
            ("SIGKILL", 1, "mid-window"),
            ("SIGSTOP", 1, "mid-window"),
            ("exception", 1, "validating"),
            ("SIGTERM", 1, "first step"),
        }
    ]
    for kind in get_args(Kind)
    for rank in range(RANKS)
    for moment in get_args(Moment)
]


@pytest.mark.parametrize(("kind", "rank", "moment"), CELLS)
def test_a_fault_leaves_the_same_weights_and_an_exact_ledger(
    kind: Kind, rank: int, moment: Moment, tmp_path: Path, micro_nemo: Path, undisturbed: str
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    settings = settings_for(run_dir, base=micro_nemo)
    fault = RankFault(kind=kind, rank=rank, moment=moment, once=tmp_path / "struck")

    first = run(settings, fault)

    assert fault.once.exists()
    assert_told(first, fault, run_dir=run_dir)
    (run_dir / "stop-requested").unlink(missing_ok=True)
    assert run(settings, fault).well
    assert weights_hash(run_dir, step=MAX_STEPS) == undisturbed
    assert booked(run_dir) == DUE


def assert_told(ended: Ended, fault: RankFault, *, run_dir: Path) -> None:
    """The first start ended as it should, and whose fault it was is known."""
    if fault.kind == "SIGTERM":
        # A checkpoint, and an end in order.
        assert ended.well
        assert requested_by(run_dir) == f"SIGTERM to rank {fault.rank}"
        found = CheckpointStore(run_dir).newest()
        assert found is not None
        return
    assert not ended.well
    if fault.kind == "SIGSTOP":
        assert ended.hang is not None
        assert [beat.rank for beat in ended.hang.ranks] == [fault.rank]
        assert ended.hang.frozen
        assert f"rank {fault.rank} (process " in str(ended.hang)
    if fault.kind == "exception":
        assert ended.errors[fault.rank] == f"InjectedError: injected on rank {fault.rank}: {fault.moment}"
    if fault.kind == "SIGKILL":
        assert ended.exit_codes[fault.rank] == -signal.SIGKILL


def test_nan_on_one_rank_skips_the_step_on_all(tmp_path: Path, micro_nemo: Path) -> None:
    settings = settings_for(tmp_path, base=micro_nemo)
    assert run(settings, nan_on=1).well
    applied = {(row["step"], row["rank"]): row["applied"] for row in ledger.read(tmp_path).to_pylist()}
    assert applied == {key: key[0] != 3 for key in DUE}
