"""What of a run is handed over, and where to: jobs/export.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, PositiveInt

from asr_ray.config import Settings

_FILE_NAME = re.compile(r"\w[\w.-]*")


def _file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} becomes the name of files: use letters, digits, `.`, `-` and `_`")
    return name


class ExportSettings(Settings):
    """Hand over the model of a run, with a record of what it is."""

    run_dir: Path
    """Folder of a run, finished or not."""
    checkpoint: Literal["best", "last"] | PositiveInt = "best"
    """The best of the run (or the mean of its best few, where that was better), the newest, or a step."""
    out: Path | None = None
    """Folder to write; null is RUN/export."""
    name: Annotated[str, AfterValidator(_file_name)] | None = None
    """Of the files; null takes that of the run's folder."""
    evaluation: Path | None = None
    """`metrics.json` of jobs/evaluate.py, whose figures of this very file go into the record."""
    format: Literal["nemo"] = "nemo"
    """Formats of other runtimes are not written yet; their converters read the `.nemo`."""

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.out or self.run_dir / "export"

    @property
    def stem(self) -> str:
        """Name of the files without their suffix."""
        return self.name or self.run_dir.resolve().name
