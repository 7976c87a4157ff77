"""Which models are decoded on which speech: jobs/evaluate.py."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from asr_ray.config import Settings
from asr_ray.settings.fields import LocaleTag


class EvaluateSettings(Settings):
    """Decode one or more models on the same speech and compare them."""

    models: dict[str, str] = Field(min_length=1)
    """Name -> `.nemo` file (or `tiny`); the first is the one others are compared with."""
    data: Path
    """Folder written by jobs/prepare.py."""
    out: Path
    locales: list[LocaleTag] | None = None
    """Null evaluates every locale of the data."""
    utterances_per_locale: PositiveInt | None = None
    att_context_size: tuple[int, int] = (56, 3)
    mode: Literal["offline", "streaming"] = "offline"
    """Whole utterances under the chunk mask, or true cache-aware streaming."""
    prompt: Literal["locale", "auto"] = "locale"
    batch_s: PositiveFloat = 120.0
    num_actors: PositiveInt = 1
    use_gpu: bool = False
    run_dir: Path | None = None
    """Training run whose curves and consumed hours the report shows."""
    guards: list[LocaleTag] = []
    max_guard_loss: float = Field(0.05, ge=0.0)
    seed: int = 1
