"""Committed checkpoints: a folder that is either complete and verified, or ignored.

    RUN/checkpoints/step-00000500/
        state.json       counters, position in the data, validation history (no tensors)
        model.pt         weights of the training objective
        optimizer.pt     optimizer state
        manifest.json    sha256 and size of every file above; written last

A checkpoint is written under a temporary name, synced and renamed, so a kill at any moment leaves
the earlier ones intact. The position in the data lives inside it and nowhere else: a side file would
run ahead of the weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asr_ray.errors import EnvironmentFault, TrainingError
from asr_ray.records import Position

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_PREFIX = "step-"
_TEMPORARY = ".writing-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Everything of a run besides tensors.

    Attributes:
        step: optimizer updates in the weights.
        position: where the data goes on.
        world_size: ranks that cut the current window into batches.
        consumed_s: seconds of audio in the weights, by "locale/source".
        validations: one entry per validation, oldest first.
        best_step: step of the best checkpoint so far; None before the first validation.
        plan_digest: catalog, seed and budget; a plan that differs in them cannot continue this one.
        mixes: name -> share of seconds by "locale/source", for each mix that `position` may name.
        elapsed_s: seconds of training, restarts not counted.
        audio_s: seconds of audio of all steps and ranks, skipped steps included.
    """

    step: int
    position: Position
    world_size: int
    plan_digest: str
    consumed_s: Mapping[str, float] = field(default_factory=dict)
    validations: tuple[Mapping[str, Any], ...] = ()
    best_step: int | None = None
    elapsed_s: float = 0.0
    audio_s: float = 0.0
    mixes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the schema version."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> RunState:
        """Read what `to_json` wrote.

        Raises:
            TrainingError: the checkpoint was written by another schema.
        """
        fields = dict(tree)
        version = fields.pop("schema", None)
        if version != SCHEMA_VERSION:
            raise TrainingError(
                f"checkpoint has schema {version}, this version reads {SCHEMA_VERSION}",
                fix="start a new run from the exported .nemo, or install the version that wrote it",
            )
        position = fields.pop("position")
        earlier = tuple((int(ranks), int(steps)) for ranks, steps in position.pop("earlier"))
        mixes = tuple((int(window), str(name)) for window, name in position.pop("mixes", ()))
        fields["validations"] = tuple(fields["validations"])
        return cls(position=Position(**position, earlier=earlier, mixes=mixes), **fields)


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / "checkpoints"

    def path(self, step: int) -> Path:
        """Folder of the checkpoint at `step`, whether or not it exists."""
        return self.folder / f"{_PREFIX}{step:08d}"

    def commit(self, state: RunState, *, writers: Mapping[str, Callable[[Path], None]]) -> Path:
        """Write a checkpoint completely or not at all.

        Args:
            state: stored as `state.json`.
            writers: file name -> function that writes that file at the given path.

        Raises:
            EnvironmentFault: storage does not take it; the checkpoints before it are as they were.
        """
        final = self.path(state.step)
        temporary = self.folder / f"{_TEMPORARY}{final.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            (temporary / "state.json").write_text(json.dumps(state.to_json(), indent=1), encoding="utf-8")
            for name, write in writers.items():
                write(temporary / name)
            _write_manifest(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            _sync(self.folder)
        except (OSError, RuntimeError) as error:
            _discard(temporary)
            # torch has no OSError for a file that it cannot write; its other errors are not of storage.
            if not isinstance(error, OSError) and "inline_container" not in str(error):
                raise
            raise cannot_write(
                self.folder, what=f"the checkpoint of step {state.step}", error=error
            ) from error
        return final

    def newest(self) -> tuple[Path, RunState] | None:
        """Return the newest checkpoint that verifies, skipping damaged ones with a warning."""
        for step in sorted(self.steps(), reverse=True):
            path = self.path(step)
            damage = find_damage(path)
            if damage is None:
                return path, read_state(path)
            log.warning("ignoring damaged checkpoint %s: %s", path, damage)
        return None

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, unverified, in no order."""
        names = (entry.name for entry in self.folder.glob(f"{_PREFIX}*"))
        return [int(name.removeprefix(_PREFIX)) for name in names if name.removeprefix(_PREFIX).isdigit()]

    def prune(self, *, keep: int, pinned: Iterable[int]) -> None:
        """Remove all but the newest `keep` checkpoints and the pinned steps."""
        kept = {*sorted(self.steps())[-keep:], *pinned}
        for step in self.steps():
            if step not in kept:
                shutil.rmtree(self.path(step))


def _discard(folder: Path) -> None:
    """Remove what was half written and give its room back: torch keeps open what it failed to write."""
    for file in folder.glob("*"):
        with contextlib.suppress(OSError):
            os.truncate(file, 0)
    shutil.rmtree(folder, ignore_errors=True)


def cannot_write(folder: Path, *, what: str, error: Exception) -> EnvironmentFault:
    """Return the error of a run folder whose storage is full, read-only or broken."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    try:
        free = f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB are free there"
    except OSError:
        free = "it does not answer"
    return EnvironmentFault(
        f"{folder}: {what} cannot be written: {reason} ({free})",
        fix="make room or mend the storage; the checkpoints before this one are intact",
    )


def read_state(path: Path) -> RunState:
    """Read `state.json` of a checkpoint folder."""
    return RunState.from_json(json.loads((path / "state.json").read_text(encoding="utf-8")))


def find_damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint folder, or None when every file matches its sha256."""
    try:
        tree = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        manifest = {name: (entry["bytes"], entry["sha256"]) for name, entry in tree.items()}
    except (OSError, ValueError, KeyError) as error:
        return f"manifest.json: {error!r}"
    for name, (size, sha256) in manifest.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, expected {size}"
        if _sha256(file) != sha256:
            return f"{name} does not match its sha256"
    return None


def _write_manifest(folder: Path) -> None:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    manifest = {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for file in (*files, folder / "manifest.json", folder):
        _sync(file)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Force a file or folder entry to disk, so that the rename cannot outrun its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
