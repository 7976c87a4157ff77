"""From what Ray and the ranks report of a failed run to the one error that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr_ray.errors import AsrRayError, TrainingError

RESUMES = "the same command resumes from the last checkpoint"

_DEAD = re.compile(
    r"actor (?:is dead|died)|worker process has died|node (?:was|is) (?:dead|lost|terminated)", re.I
)
_COLLECTIVE = re.compile(
    r"gloo|nccl|connection (?:closed|reset|refused)|broken pipe|process ?group|DistBackend|DistNetwork"
    r"|store.*(?:timeout|closed)|timed out waiting",
    re.I,
)


def failure_of(error: BaseException, *, run_dir: Path, hangs: Sequence[str] = ()) -> AsrRayError:
    """Return what a run failed of: an error of ours keeps its class and so its exit code.

    Args:
        error: what `fit` raised.
        hangs: ranks that were ended because they hung, in words, the last ones of the run.
    """
    rank, cause = root_cause(error)
    who = f"rank {rank}: " if rank is not None else ""
    if isinstance(cause, AsrRayError):
        fix = f"{cause.fix}; {RESUMES}" if cause.fix else RESUMES
        return type(cause)(f"{run_dir}: training failed: {who}{cause.message}", fix=fix)
    if hangs and kind_of(cause) > 1:
        message = hangs[-1]
        fix = f"look at that process and its node; raise resources.hang_timeout_s if it was slow; {RESUMES}"
    elif kind_of(cause) == 2:
        message = f"{who}its process died (killed, out of memory, or its node was lost)"
        fix = f"`ray status` and the log under RUN/ray or /tmp/ray/session_latest/logs tell; {RESUMES}"
    else:
        message, fix = f"{who}{_last_line(cause)}", f"mend the cause; {RESUMES}"
    return TrainingError(f"{run_dir}: training failed: {message}", fix=fix)


def root_cause(error: BaseException) -> tuple[int | None, BaseException]:
    """Return the rank a failure began on and what it met there; None where it began on none.

    When one rank fails, the others fail too: their collectives break. Those follow-ups are reported last.
    """
    failures: Mapping[int, BaseException] = getattr(error, "worker_failures", None) or {}
    if not failures:
        # Wrappers of Ray Train's controller, of its workers, of tasks.
        held = [getattr(error, name, None) for name in ("controller_failure", "_base_exc", "cause")]
        inner = next((each for each in held if isinstance(each, BaseException) and each is not error), None)
        return (None, error) if inner is None else root_cause(inner)
    causes = {rank: root_cause(failure)[1] for rank, failure in failures.items()}
    rank = min(causes, key=lambda rank: (kind_of(causes[rank]), rank))
    return rank, causes[rank]


def kind_of(cause: BaseException) -> int:
    """Order of how near to the root a cause is: ours 0, any other 1, a death 2, a broken collective 3."""
    if isinstance(cause, AsrRayError):
        return 0
    text = f"{type(cause).__name__} {cause}"
    if _DEAD.search(text) or "ActorDied" in text:
        return 2
    return 3 if _COLLECTIVE.search(text) else 1


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__
