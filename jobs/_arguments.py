"""The arguments of all jobs, and what `--dry-run` prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from asr_ray import config


def parser_of(description: str | None, *, schema: type[config.Settings]) -> argparse.ArgumentParser:
    """Return the parser that all jobs share."""
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
    return parser


def dry_run(loaded: config.Loaded[Any], *, as_json: bool) -> str:
    """Return every setting with its origin, or as JSON."""
    if as_json:
        return json.dumps(loaded.settings.model_dump(mode="json"), ensure_ascii=False)
    return config.describe(loaded)
