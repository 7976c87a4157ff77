"""The folder of a sweep: one process at a time, and one configuration for ever."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.files import write_whole
from asr_ray.sweep.space import Sweep


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the folder of a sweep, until the process ends in whatever way.

    Raises:
        EnvironmentFault: another process holds it.
    """
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EnvironmentFault(
                f"{out}: another process runs this sweep", fix="wait for it, or choose another sweep.out"
            ) from error
        yield


def check_unchanged(sweep: Sweep, *, path: Path) -> None:
    """Raise ConfigError when the folder holds trials that could not be compared with those to come."""
    runs = {key: value for key, value in sweep.tree.items() if key not in ("run_dir", "resources")}
    space = {each.key: repr(each.range) for each in sweep.space}
    search = {"search": sweep.settings.search, "seed": sweep.settings.seed}
    here = json.loads(json.dumps({"run": runs, "space": space, "sweep": search}, default=str))
    if not path.exists():
        write_whole(path, json.dumps(here, indent=1))
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    if differing := sorted(_flat(here).items() ^ _flat(there).items()):
        names = ", ".join(dict.fromkeys(key for key, _ in differing))
        raise ConfigError(
            f"{path.parent} holds a sweep that differs in {names}, so its trials compare with no new ones",
            fix="restore the configuration, or choose another sweep.out",
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found
