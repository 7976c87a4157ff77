"""A file is the old one or the whole new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_ray.files import write_whole


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_whole(path, "old")
    write_whole(path, "new")
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("b.json", "new")]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
