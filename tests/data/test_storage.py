"""Paths may be local or URLs; what is absent is told apart from what cannot be reached."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from asr_ray.data import storage
from asr_ray.data.audio import encode_flac
from asr_ray.data.corpus import READERS
from asr_ray.data.corpus.clip import clip
from asr_ray.errors import DataError
from asr_ray.records import Utterance
from asr_ray.testing.corpora import WRITERS, clips
from asr_ray.testing.noise import noise


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_WAITS_S", (0.0, 0.0))


def test_local_files_are_found_sorted_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).touch()
    (tmp_path / "d.txt").mkdir()
    monkeypatch.chdir(tmp_path)

    assert storage.find("*.txt") == [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    assert storage.find(".", inside="*.md") == [str(tmp_path / "c.md")]
    assert storage.find(f"file://{tmp_path}/c.md") == [str(tmp_path / "c.md")]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "m[1].txt").touch()

    assert storage.find(str(tmp_path / "m[1].txt")) == [str(tmp_path / "m[1].txt")]


def test_remote_files_are_found_as_urls(memory: MemoryFileSystem) -> None:
    for name in ("/c/b.txt", "/c/a.txt", "/c/deep/a.txt"):
        memory.pipe_file(name, b"x")

    assert storage.find("memory://c/*.txt") == ["memory:///c/a.txt", "memory:///c/b.txt"]
    assert storage.find("memory://c", inside="b*") == ["memory:///c/b.txt"]
    assert storage.find("memory://c/none*") == []


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("/data/m.jsonl", "a/b.wav", "/data/a/b.wav"),
        ("/data/m.jsonl", "/elsewhere/b.wav", "/elsewhere/b.wav"),
        ("/data/m.jsonl", "s3://bucket/b.wav", "s3://bucket/b.wav"),
        ("s3://bucket/data/m.jsonl", "../a/b.wav", "s3://bucket/a/b.wav"),
        ("memory:///data/m.jsonl", "b.wav", "memory:///data/b.wav"),
        ("s3://bucket/m.jsonl", "/local/b.wav", "/local/b.wav"),
    ],
)
def test_names_are_relative_to_their_manifest(file: str, name: str, expected: str) -> None:
    assert storage.join(file, name) == expected


def test_content_is_read_whole_or_in_part_from_both_kinds(tmp_path: Path, memory: MemoryFileSystem) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    memory.pipe_file("/x", b"0123456789")

    for path in (str(tmp_path / "x"), "memory:///x"):
        assert storage.read_bytes(path, limit=10) == b"0123456789"
        assert storage.read_range(path, start=3, stop=6) == b"345"
        assert storage.read_range(path, start=8, stop=99) == b"89"
        assert storage.read_range(path, start=6, stop=6) == b""
        with storage.open_file(path) as file:
            file.seek(4)
            assert file.read(2) == b"45"
        with pytest.raises(storage.TooLargeError):
            storage.read_bytes(path, limit=9)
        with pytest.raises(FileNotFoundError):
            storage.read_bytes(f"{path}-absent", limit=9)


def test_a_marker_changes_with_the_file(tmp_path: Path, memory: MemoryFileSystem) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    memory.pipe_file("/x", b"one")
    before = [storage.marker(str(path)), storage.marker("memory:///x")]
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    memory.pipe_file("/x", b"two")

    after = [storage.marker(str(path)), storage.marker("memory:///x")]

    assert all(old != new for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("path", ["ssh://host/x.wav", "s3::memory://x", "github://a:b@c/x"])
def test_other_protocols_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no storage protocol"):
        storage.read_bytes(path, limit=9)
    with pytest.raises(DataError, match="no storage protocol"):
        storage.find(path)


def test_a_device_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(IsADirectoryError):
        storage.read_bytes(str(tmp_path / "pipe"), limit=9)


def failing(times: int, error: OSError) -> Any:
    """A replacement of a method of a file system that fails at first."""
    original, calls = MemoryFileSystem.cat_file, []

    def cat_file(self: MemoryFileSystem, *arguments: Any, **keywords: Any) -> bytes:
        calls.append(arguments)
        if len(calls) <= times:
            raise error
        return original(self, *arguments, **keywords)

    return cat_file


def test_a_short_failure_of_storage_is_waited_out(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/x", b"content")
    monkeypatch.setattr(MemoryFileSystem, "cat_file", failing(2, TimeoutError(errno.ETIMEDOUT, "timed out")))

    assert storage.read_bytes("memory:///x", limit=99) == b"content"


@pytest.mark.parametrize("error", [TimeoutError(errno.ETIMEDOUT, "timed out"), PermissionError("not yours")])
def test_a_lasting_failure_names_the_file_and_is_no_fault_of_the_row(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    memory.pipe_file("/x.flac", encode_flac(noise(1.0)))
    monkeypatch.setattr(MemoryFileSystem, "cat_file", failing(99, error))

    with pytest.raises(DataError, match=r"memory:///x\.flac: cannot be read"):
        clip("memory:///x.flac")


def test_a_failure_inside_a_decoder_is_not_taken_for_damaged_audio(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/x.flac", encode_flac(noise(1.0)))

    class Broken:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def read(self, size: int = -1) -> bytes:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")

    original = MemoryFileSystem.open
    monkeypatch.setattr(MemoryFileSystem, "open", lambda *a, **k: Broken(original(*a, **k)))

    with pytest.raises(DataError, match=r"memory:///x\.flac: cannot be read"):
        clip("memory:///x.flac", offset_s=0.1, duration_s=0.2)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_format_is_read_from_a_url(name: str, tmp_path: Path, memory: MemoryFileSystem) -> None:
    spoken = clips(4)
    local = WRITERS[name](tmp_path, spoken)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/there/{path.relative_to(tmp_path)}", path.read_bytes())
            path.unlink()
    moved = {
        key: value.replace(str(tmp_path), "memory:///there")
        for key in ("path", "tars")
        if (value := getattr(local, key)) is not None
    }
    corpus = local.model_copy(update=moved)
    reader = READERS[name]

    found = [
        row
        for file in reader.files(corpus)
        for span in reader.split(file, rows_per_span=3)
        for row in reader.read(span, corpus=corpus)
    ]

    assert {row.content.text for row in found if isinstance(row.content, Utterance)} == {
        each.text for each in spoken
    }
    assert all(row.span.file.startswith("memory://") for row in found)
