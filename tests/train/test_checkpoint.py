"""A checkpoint is there whole or not at all; whatever happens to a file, an older one takes over."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_ray.errors import EnvironmentFault, TrainingError
from asr_ray.records import Batch, Position
from asr_ray.train.checkpoint import CheckpointStore, RunState, find_damage, read_state
from asr_ray.train.ledger import Ledger

FILES = ("state.json", "model.pt", "manifest.json")


def state_at(step: int) -> RunState:
    return RunState(step=step, position=Position(0, 1, step), world_size=2, plan_digest="abc")


def write_bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def fail_half_way(path: Path) -> None:
    path.write_bytes(b"half of it")
    raise OSError("disk full")


def commit(store: CheckpointStore, step: int) -> Path:
    return store.commit(state_at(step), writers={"model.pt": write_bytes(b"weights" * 50 + bytes([step]))})


def newest_step(store: CheckpointStore) -> int | None:
    found = store.newest()
    return found[1].step if found else None


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path)


def test_a_run_without_checkpoints_has_none(store: CheckpointStore) -> None:
    assert store.newest() is None
    assert store.steps() == []


def test_the_newest_is_found_with_its_state_and_files(store: CheckpointStore) -> None:
    commit(store, 9)
    commit(store, 10)

    found = store.newest()

    assert found == (store.path(10), state_at(10))
    assert (store.path(10) / "model.pt").read_bytes()[-1] == 10


def test_a_writer_that_fails_leaves_the_older_checkpoint_newest(store: CheckpointStore) -> None:
    commit(store, 1)
    with pytest.raises(EnvironmentFault, match="disk full"):
        store.commit(state_at(2), writers={"model.pt": write_bytes(b"x"), "optimizer.pt": fail_half_way})

    assert store.steps() == [1]
    assert newest_step(store) == 1
    commit(store, 2)
    assert newest_step(store) == 2
    assert sorted(path.name for path in store.path(2).iterdir()) == sorted(FILES)


def test_a_failed_second_commit_of_a_step_leaves_the_first(store: CheckpointStore) -> None:
    commit(store, 1)
    with pytest.raises(EnvironmentFault, match="disk full"):
        store.commit(state_at(1), writers={"model.pt": fail_half_way})
    assert newest_step(store) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skipped where this process may mount none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount: {mounted.stderr.decode().strip()}")
    yield folder
    # Lazily: torch keeps a file open that it failed to write.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("writer", ["torch", "plain"])
def test_a_full_disk_is_told_and_leaves_what_was_there(small_disk: Path, writer: str) -> None:
    import torch

    def write(path: Path) -> None:
        if writer == "torch":
            torch.save({"weights": torch.zeros(100_000)}, path)
        else:
            path.write_bytes(bytes(400_000))

    store = CheckpointStore(small_disk)
    commit(store, 1)
    with pytest.raises(EnvironmentFault, match="the checkpoint of step 2 cannot be written") as told:
        store.commit(state_at(2), writers={"model.pt": write})
    assert "MiB are free there" in told.value.message
    assert "make room" in told.value.fix
    assert newest_step(store) == 1
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"], (
        "no half is left to fill the disk"
    )
    commit(store, 2)
    assert newest_step(store) == 2


def test_a_full_disk_stops_the_ledger_before_the_checkpoint_that_would_claim_it(small_disk: Path) -> None:
    import numpy as np

    book = Ledger(small_disk, rank=0)
    rng = np.random.default_rng(1)
    names = tuple(rng.bytes(16).hex() for _ in range(20_000))
    batch = Batch(
        audio=np.zeros((0, 0), dtype=np.int16),
        num_samples=np.zeros(0, dtype=np.int64),
        tokens=np.zeros((0, 0), dtype=np.int64),
        num_tokens=np.zeros(0, dtype=np.int64),
        prompt_slots=np.zeros(0, dtype=np.int64),
        ids=names,
        locales=("el-GR",) * len(names),
        sources=("a",) * len(names),
        durations_s=np.ones(len(names)),
        position=Position(),
        next_position=Position(step=1),
    )
    book.add(batch, step=1, applied=True)
    with pytest.raises(EnvironmentFault, match="the ledger of step 1 cannot be written"):
        book.flush(step=1)
    assert list((small_disk / "ledger").iterdir()) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "emptied", "missing"])
def test_a_damaged_file_sends_the_run_to_the_next_older(
    store: CheckpointStore, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    commit(store, 1)
    file = commit(store, 2) / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: -1 if damage == "truncated" else 0])

    assert newest_step(store) == 1
    assert name in caplog.text
    assert str(store.path(2)) in caplog.text


@settings(max_examples=50)  # each waits for the disk
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: float, bit: int
) -> None:
    store = CheckpointStore(tmp_path_factory.getbasetemp() / "flipped")
    file = commit(store, 3) / name
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content)

    assert find_damage(store.path(3)) is not None
    assert newest_step(store) is None


def test_when_all_are_damaged_there_is_none(store: CheckpointStore) -> None:
    for step in (1, 2):
        (commit(store, step) / "model.pt").unlink()
    assert store.newest() is None


def test_what_a_kill_leaves_behind_is_no_checkpoint(store: CheckpointStore) -> None:
    commit(store, 1)
    shutil.copytree(store.path(1), store.folder / ".writing-step-00000002")
    (store.folder / "step-00000003.old").mkdir()

    assert store.steps() == [1]
    assert newest_step(store) == 1


@given(
    steps=st.sets(st.integers(0, 40), min_size=1, max_size=6),
    keep=st.integers(2, 4),
    pinned=st.sets(st.integers(0, 40), max_size=2),
)
def test_prune_keeps_the_newest_and_the_pinned(
    tmp_path_factory: pytest.TempPathFactory, steps: set[int], keep: int, pinned: set[int]
) -> None:
    store = CheckpointStore(tmp_path_factory.mktemp("prune"))
    for step in steps:
        store.path(step).mkdir(parents=True)

    store.prune(keep=keep, pinned=pinned)

    assert set(store.steps()) == {*sorted(steps)[-keep:], *(steps & pinned)}


small = st.integers(0, 10**6)
mixes = st.lists(st.tuples(small, st.text())).map(tuple)
positions = st.builds(Position, small, small, small, st.lists(st.tuples(small, small)).map(tuple), mixes)
states = st.builds(
    RunState,
    step=small,
    position=positions,
    world_size=st.integers(1, 512),
    plan_digest=st.text(),
    consumed_s=st.dictionaries(st.text(), st.floats(0, 1e9)),
    validations=st.lists(
        st.fixed_dictionaries({"step": small, "locales": st.just({"el-GR": {"rate": 0.5}})})
    ).map(tuple),
    best_step=st.none() | small,
    elapsed_s=st.floats(0, 1e9),
    mixes=st.dictionaries(st.text(), st.dictionaries(st.text(), st.floats(0, 1))),
)


@given(state=states)
def test_a_state_is_read_back_as_it_was(state: RunState) -> None:
    read_back = RunState.from_json(json.loads(json.dumps(state.to_json())))
    assert read_back == state
    assert read_back.position.mixes == state.position.mixes


def test_a_state_of_another_schema_is_refused(store: CheckpointStore) -> None:
    path = commit(store, 1)
    tree = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(tree | {"schema": 99}))

    with pytest.raises(TrainingError, match="checkpoint has schema 99"):
        read_state(path)
