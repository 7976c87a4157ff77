"""Ranks of a run without Ray: processes of a gloo group on this machine, quickly started and easily hurt.

They are forked from a server that has NeMo imported, so a group of two starts in a second. The parent does
what Ray Train does with a group: when one rank ends badly or hangs, all of them are ended.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from asr_ray.train.survival.pulse import Hang, HangWatch, clear_pulses, end_process, read_pulses

RankFunction = Callable[..., None]
"""Called with `rank` and `world_size` as keywords, inside the process group; must be importable."""

_POLL_S = 0.05
_COLLECTIVE_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a group of ranks ended.

    Attributes:
        exit_codes: by rank; 0 is well, 1 an exception, -9 a SIGKILL. Those that the parent ended have -9 too.
        errors: rank -> type and text of the exception that ended it.
        hang: the ranks that were ended because nothing moved.
    """

    exit_codes: tuple[int, ...]
    errors: dict[int, str] = field(default_factory=dict)
    hang: Hang | None = None

    @property
    def well(self) -> bool:
        """Whether every rank returned."""
        return not any(self.exit_codes)


def run_ranks(
    function: RankFunction,
    *arguments: Any,
    world_size: int,
    run_dir: Path,
    hang_timeout_s: float = 60.0,
    meddle: Callable[[Sequence[int]], None] = lambda pids: None,
) -> Ended:
    """Call `function` in `world_size` new processes and wait until all have ended.

    Args:
        arguments: picklable; the first ones of the call.
        run_dir: where the ranks leave their pulses, if they do.
        hang_timeout_s: after so long without a mark those who hang are killed.
        meddle: called again and again with the process ids of the ranks, to hurt them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["asr_ray.testing.preloaded"])
    clear_pulses(run_dir)
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_rank, args=(function, arguments, rank, world_size, Path(folder)))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        watch = HangWatch(timeout_s=hang_timeout_s)
        hang = _wait(processes, run_dir=run_dir, watch=watch, meddle=meddle)
        errors = {
            rank: (Path(folder) / f"error-{rank}").read_text(encoding="utf-8")
            for rank in range(world_size)
            if (Path(folder) / f"error-{rank}").exists()
        }
    codes = tuple(process.exitcode or 0 for process in processes)
    return Ended(exit_codes=codes, errors=errors, hang=hang)


def _wait(
    processes: Sequence[BaseProcess],
    *,
    run_dir: Path,
    watch: HangWatch,
    meddle: Callable[[Sequence[int]], None],
) -> Hang | None:
    """Wait for the ranks; end all of them when one has ended badly. Return the hang that was found."""
    found: Hang | None = None
    while any(process.is_alive() for process in processes):
        time.sleep(_POLL_S)
        meddle([process.pid for process in processes if process.pid and process.is_alive()])
        hang = watch.look(read_pulses(run_dir))
        if hang is not None:
            found = hang
            for beat in hang.ranks:
                end_process(beat)
        if any(process.exitcode for process in processes):
            # What the others meet meanwhile is a follow-up; they get a moment to tell.
            time.sleep(0.5)
            for process in processes:
                process.kill()
    for process in processes:
        process.join()
    return found


class _Told:
    """Context manager: leaves what went wrong inside in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.path.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")


def _rank(
    function: RankFunction, arguments: tuple[Any, ...], rank: int, world_size: int, folder: Path
) -> None:
    """What runs in the process of a rank."""
    from torch import distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=_COLLECTIVE_TIMEOUT_S),
    )
    with _Told(folder / f"error-{rank}"):
        function(*arguments, rank=rank, world_size=world_size)
    dist.destroy_process_group()
