"""What each rank says it is doing, and who is to blame when nothing moves any more.

    RUN/pulse/rank-000.json     written by a thread of each worker, whatever its training thread does

Two signs are kept apart. A rank *marks* what it begins (reading, computing, waiting for the others); a run
in which no rank marks anything any longer hangs. The thread *beats*; a process whose thread does not beat
is frozen (stopped, or something holds the interpreter). So the one that hangs can be told from those
that wait for it in a collective, which is where the others of a hang are always found.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from asr_ray.files import write_whole

log = logging.getLogger(__name__)

WAITING = "waiting for the other ranks"
EXCHANGING = "exchanging gradients"
"""What a rank does inside collectives, where only others can be to blame."""

_BEATS_PER_TIMEOUT = 10
_LONGEST_BEAT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The newest sign of one rank.

    Attributes:
        node: Ray's id of the node it runs on.
        pid: its process, there.
        born: when that process was created, seconds since the epoch; a number is used again, this is not.
        step: optimizer update it works on.
        marks: how many things it has begun.
        beats: how often its thread has written.
    """

    rank: int
    host: str
    node: str
    pid: int
    born: float
    step: int = 0
    doing: str = "starting"
    marks: int = 0
    beats: int = 0

    @property
    def waits(self) -> bool:
        """Whether it can only wait for others."""
        return self.doing in (WAITING, EXCHANGING)


class Pulse:
    """Context manager on a worker: tells what it does, several times within `timeout_s`.

    Args:
        node: Ray's id of this node.
    """

    def __init__(self, run_dir: Path, *, rank: int, node: str, timeout_s: float) -> None:
        self.path = pulse_folder(run_dir) / f"rank-{rank:03d}.json"
        self.every_s = min(_LONGEST_BEAT_S, timeout_s / _BEATS_PER_TIMEOUT)
        me = psutil.Process()
        self.beat = Beat(
            rank=rank, host=socket.gethostname(), node=node, pid=me.pid, born=round(me.create_time(), 2)
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_until_ended, name="pulse", daemon=True)

    def mark(self, doing: str, step: int | None = None) -> None:
        """Say what begins now; `step` stays as it was when None."""
        beat = self.beat
        self.beat = replace(beat, doing=doing, step=beat.step if step is None else step, marks=beat.marks + 1)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        # What is over cannot hang; the driver looks at no rank that has no file.
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _write_until_ended(self) -> None:
        beats = 0
        while not self._ended.is_set():
            beats += 1
            try:
                write_whole(self.path, json.dumps(asdict(replace(self.beat, beats=beats))))
            except OSError as error:
                # A full disk ends the run where it loses something, not here.
                log.warning("%s cannot be written: %s", self.path, error)
            self._ended.wait(self.every_s)


def pulse_folder(run_dir: Path) -> Path:
    """Where the ranks of a run leave their signs."""
    return run_dir / "pulse"


def clear_pulses(run_dir: Path) -> None:
    """Forget the ranks of earlier starts."""
    shutil.rmtree(pulse_folder(run_dir), ignore_errors=True)


def read_pulses(run_dir: Path) -> dict[int, Beat]:
    """Return the newest sign of each rank that runs."""
    found: dict[int, Beat] = {}
    for path in sorted(pulse_folder(run_dir).glob("rank-*.json")):
        try:
            beat = Beat(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # it has ended meanwhile, or shared storage shows half of it
        found[beat.rank] = beat
    return found


@dataclass(frozen=True, slots=True)
class Hang:
    """Ranks that keep a run from going on.

    Attributes:
        ranks: the culprits; all of them where every rank waits for the others.
        silent_s: how long no rank has begun anything.
    """

    ranks: tuple[Beat, ...]
    silent_s: float
    frozen: bool

    def __str__(self) -> str:
        """Return which rank hangs, where, doing what, for how long."""
        who = "; ".join(
            f"rank {beat.rank} (process {beat.pid} on {beat.host}) hung at step {beat.step}, "
            + ("its process did not run" if self.frozen else beat.doing)
            for beat in self.ranks
        )
        return f"{who}: nothing moved for {self.silent_s:.0f} s"


class HangWatch:
    """Tells from the signs of the ranks, seen again and again, when a run hangs.

    Args:
        timeout_s: how long all ranks may be without a mark.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._marks: dict[int, tuple[int, int]] = {}
        self._moved_s = 0.0
        self._beats: dict[int, tuple[int, int]] = {}
        self._beaten_s: dict[int, float] = {}

    def look(self, beats: Mapping[int, Beat], *, now_s: float | None = None) -> Hang | None:
        """Return who hangs, None while something moves; starts to count anew after each answer.

        Args:
            now_s: by any clock that does not jump; None takes that of this process.
        """
        now_s = time.monotonic() if now_s is None else now_s
        for rank, beat in beats.items():
            if self._beats.get(rank) != (beat.pid, beat.beats):
                self._beats[rank] = (beat.pid, beat.beats)
                self._beaten_s[rank] = now_s
        marks = {rank: (beat.pid, beat.marks) for rank, beat in beats.items()}
        if marks != self._marks:
            self._marks, self._moved_s = marks, now_s
        silent_s = now_s - self._moved_s
        if not beats or silent_s < self.timeout_s:
            return None
        self._moved_s = now_s
        # Two beats of every rank are due in this time.
        limit_s = min(2 * _LONGEST_BEAT_S + 5.0, self.timeout_s / 2)
        frozen = [beat for rank, beat in beats.items() if now_s - self._beaten_s[rank] > limit_s]
        active = [beat for beat in beats.values() if not beat.waits]
        return Hang(tuple(frozen or active or beats.values()), silent_s=silent_s, frozen=bool(frozen))


def end_process(beat: Beat) -> bool:
    """Kill the process of a rank, on its node; return whether it was still there.

    SIGKILL: what is frozen hears nothing else.
    """
    try:
        process = psutil.Process(beat.pid)
        if os.getpid() == beat.pid or abs(process.create_time() - beat.born) > 1.0:
            return False
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True
