"""What all jobs share: arguments, settings, exit codes. Heavy imports wait until the settings are valid."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Jobs also run from a checkout that is not installed.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from _arguments import dry_run, parser_of
from _job import Job, S

from asr_ray import config
from asr_ray.errors import AsrRayError, Interrupted

__all__ = ["Job", "run_job"]


def run_job(
    description: str | None,
    *,
    schema: type[config.Settings],
    act: Callable[[Job[S]], int | None],
    argv: Sequence[str] | None = None,
    shortcuts: Mapping[str, str] = {},
    stand_ins: Mapping[str, Callable[[Path], Path]] = {},
    load: Callable[..., S] | None = None,
    rehearse: Callable[[Job[S]], int | None] | None = None,
) -> int:
    """Parse, validate, act; return the exit code (`asr_ray.errors` lists them).

    Args:
        description: the docstring of the job; what `--help` prints.
        schema: settings class; its keys are those of the configuration.
        act: does the work; returns an exit code or None for 0.
        argv: arguments, None for those of the process.
        shortcuts, stand_ins: flags of this job alone, see `parser_of`.
        load: (file, sets=...) -> what the job takes; None reads settings of `schema`.
        rehearse: answers to `--dry-run`; None shows every setting with its origin.
    """
    parser = parser_of(description, schema=schema, shortcuts=shortcuts, stand_ins=stand_ins)
    arguments = parser.parse_args(argv)
    try:
        found: Any
        if load is not None:
            found = load(arguments.config, sets=arguments.set)
        else:
            loaded = config.load(arguments.config, schema=schema, sets=arguments.set)
            if arguments.dry_run:
                sys.stdout.write(dry_run(loaded, as_json=arguments.json) + "\n")
                return 0
            found = loaded.settings
        job: Job[S] = Job(settings=found, config=arguments.config, sets=arguments.set, as_json=arguments.json)
        return (rehearse(job) if rehearse and arguments.dry_run else act(job)) or 0
    except AsrRayError as error:
        # Ray raises a copy that prints a traceback and keeps the original as its cause.
        sys.stderr.write(f"error: {getattr(error, 'cause', error)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return Interrupted.exit_code
