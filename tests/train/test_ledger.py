"""The ledger says which utterance fed which step: all that is in the weights, nothing that was lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr_ray.data.assemble import Assembler
from asr_ray.records import Batch, Position, PromptTable
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.prepared import noise_utterances
from asr_ray.train import ledger
from asr_ray.train.ledger import Ledger

ASSEMBLER = Assembler(
    tokenizer=FakeTokenizer(),
    prompts=PromptTable(slots={"el-GR": 0, "bg-BG": 1}, num_slots=2),
    prompt_mode="langID",
    auto_share=0.0,
    append_tags=False,
    seed=0,
)
UTTERANCES = [
    *noise_utterances(("el-GR", "radio"), count=2, seconds=(0.05, 0.1)),
    *noise_utterances(("bg-BG", "podcast"), count=1, seconds=(0.05, 0.1)),
]


@pytest.fixture(scope="module")
def batch() -> Batch:
    here = Position()
    assembled = ASSEMBLER.assemble(UTTERANCES, position=here, after=here)
    return replace(assembled, durations_s=assembled.durations_s * 0 + [1.0, 2.0, 4.0])


def steps_of(run_dir: Path) -> list[int]:
    steps: list[int] = ledger.read(run_dir).column("step").to_pylist()
    return steps


def test_a_run_without_parts_has_an_empty_ledger(tmp_path: Path) -> None:
    table = ledger.read(tmp_path)
    assert (table.num_rows, table.schema) == (0, ledger.SCHEMA)
    ledger.truncate(tmp_path, step=0)


def test_every_utterance_is_a_row_with_all_that_is_known(tmp_path: Path, batch: Batch) -> None:
    book = Ledger(tmp_path, rank=3)
    book.add(batch, step=7, applied=True)
    book.add(batch, step=8, applied=False)
    book.flush(step=8)

    assert ledger.read(tmp_path).to_pylist()[2:4] == [
        {
            "step": 7,
            "rank": 3,
            "id": "bg-BG-podcast-0000",
            "locale": "bg-BG",
            "source": "podcast",
            "seconds": 4.0,
            "applied": True,
        },
        {
            "step": 8,
            "rank": 3,
            "id": "el-GR-radio-0000",
            "locale": "el-GR",
            "source": "radio",
            "seconds": 1.0,
            "applied": False,
        },
    ]


def test_parts_of_all_ranks_are_read_in_the_order_of_steps(tmp_path: Path, batch: Batch) -> None:
    for step in (2, 10, 100):
        for rank in (0, 1):
            book = Ledger(tmp_path, rank=rank)
            book.add(batch, step=step, applied=True)
            book.flush(step=step)

    table = ledger.read(tmp_path)

    assert steps_of(tmp_path) == [2] * 6 + [10] * 6 + [100] * 6
    assert table.column("rank").to_pylist() == ([0] * 3 + [1] * 3) * 3
    assert set(table.column("locale").to_pylist()) == {"el-GR", "bg-BG"}


def test_a_row_is_written_once(tmp_path: Path, batch: Batch) -> None:
    book = Ledger(tmp_path, rank=0)
    book.add(batch, step=1, applied=True)
    book.flush(step=1)
    book.add(batch, step=2, applied=True)
    book.flush(step=2)
    book.flush(step=3)

    assert steps_of(tmp_path) == [1, 1, 1, 2, 2, 2]


def test_seconds_count_what_moved_the_weights_since_the_last_flush(tmp_path: Path, batch: Batch) -> None:
    book = Ledger(tmp_path, rank=0)
    assert book.seconds() == {}
    book.add(batch, step=1, applied=True)
    book.add(batch, step=2, applied=False)
    book.add(batch, step=3, applied=True)
    assert book.seconds() == {"el-GR/radio": 6.0, "bg-BG/podcast": 8.0}
    book.flush(step=3)
    assert book.seconds() == {}


@pytest.mark.parametrize(("committed", "left"), [(0, []), (1, [1]), (4, [1]), (5, [1, 5]), (12, [1, 5, 12])])
def test_truncate_removes_what_no_checkpoint_claims(
    tmp_path: Path, batch: Batch, committed: int, left: list[int]
) -> None:
    for step in (1, 5, 12):
        book = Ledger(tmp_path, rank=0)
        book.add(batch, step=step, applied=True)
        book.flush(step=step)

    ledger.truncate(tmp_path, step=committed)

    assert sorted(set(steps_of(tmp_path))) == left


def test_a_part_that_a_kill_cut_short_is_not_read(tmp_path: Path, batch: Batch) -> None:
    book = Ledger(tmp_path, rank=0)
    book.add(batch, step=1, applied=True)
    book.flush(step=1)
    (tmp_path / "ledger" / "part-00000002-rank000.writing").write_bytes(b"PAR1")

    assert steps_of(tmp_path) == [1, 1, 1]
