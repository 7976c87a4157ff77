"""The errors a user can meet, drawn once.

    AsrRayError                 base: message + how to fix it; never raised itself
    ├── ConfigError        (2)  a configuration or command line that cannot run
    ├── DataError          (3)  corpora, shards or catalogs that cannot be used
    ├── EnvironmentFault   (4)  this machine or cluster lacks something
    ├── TrainingError      (5)  a run started and failed
    ├── Interrupted        (6)  stopped on request; the same command continues
    └── RegressionError    (7)  an evaluation gate did not pass

The number is the exit code of the jobs (DataError ends `jobs/prepare.py` with 3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ClassVar


class AsrRayError(Exception):
    """What went wrong, where, and why; `fix` says what to do about it.

    Args:
        message: what happened, where (file:line, key, locale) and why.
        fix: one sentence in the imperative, shown after the message.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __reduce__(self) -> tuple[Callable[..., AsrRayError], tuple[str, str]]:
        """Survive the way between processes: the default would lose the keyword-only `fix`."""
        return functools.partial(_restore, type(self)), (self.message, self.fix)

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


def _restore(kind: type[AsrRayError], message: str, fix: str) -> AsrRayError:
    return kind(message, fix=fix)


class ConfigError(AsrRayError):
    """A configuration file, override or flag that cannot run."""

    exit_code = 2


class DataError(AsrRayError):
    """A corpus, shard, catalog or manifest that cannot be used."""

    exit_code = 3


class EnvironmentFault(AsrRayError):
    """A missing library, GPU, CPU, disk or service."""

    exit_code = 4


class TrainingError(AsrRayError):
    """A run that started and could not go on."""

    exit_code = 5


class Interrupted(AsrRayError):
    """A run stopped on request; the same command resumes it."""

    exit_code = 6


class RegressionError(AsrRayError):
    """A comparison that found the new model worse than allowed."""

    exit_code = 7
