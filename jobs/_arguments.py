"""The arguments of all jobs, and what `--dry-run` prints."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asr_ray import config


def parser_of(
    description: str | None,
    *,
    schema: type[config.Settings],
    shortcuts: Mapping[str, str] = {},
    stand_ins: Mapping[str, Callable[[Path], Path]] = {},
) -> argparse.ArgumentParser:
    """Return the parser that all jobs share.

    Args:
        shortcuts: flag without its dashes -> key of the configuration that it sets.
        stand_ins: flag -> the configuration that belongs to the file it is given.
    """
    keys = ", ".join(schema.model_fields)
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"keys of the configuration: {keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file; may name its parent with `base:`"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="override one value; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--dry-run", action="store_true", help="print every setting with its origin and do nothing"
    )
    for flag, key in shortcuts.items():
        parser.add_argument(
            f"--{flag}",
            metavar="VALUE",
            dest="set",
            action="append",
            type=functools.partial(_assignment, key),
            help=f"short for --set {key}=VALUE",
        )
    for flag, file_of in stand_ins.items():
        parser.add_argument(
            f"--{flag}",
            metavar="FILE",
            dest="config",
            type=functools.partial(_beside, file_of),
            help="takes the configuration that lies beside this file, in place of --config",
        )
    return parser


def _beside(file_of: Callable[[Path], Path], value: str) -> Path:
    return file_of(Path(value))


def _assignment(key: str, value: str) -> str:
    return f"{key}={json.dumps(value)}"


def dry_run(loaded: config.Loaded[Any], *, as_json: bool) -> str:
    """Return every setting with its origin, or as JSON."""
    if as_json:
        return json.dumps(loaded.settings.model_dump(mode="json"), ensure_ascii=False)
    return config.describe(loaded)
