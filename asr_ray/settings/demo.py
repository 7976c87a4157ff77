"""The whole way once: jobs/demo.py."""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveInt

from asr_ray.config import Settings
from asr_ray.settings.fields import LocaleTag


class SpeechSettings(Settings):
    """Synthetic speech of the demo."""

    locales: list[LocaleTag] = ["en-US", "es-ES", "el-GR", "bg-BG"]
    train: PositiveInt = 1200
    """Training utterances of each locale that is new to the base."""
    replay: PositiveInt = 500
    """Training utterances of each locale that is only kept alive."""
    validation: PositiveInt = 40
    test: PositiveInt = 100
    """Utterances of each locale to judge by, during and after training."""
    seed: int = 1


class DemoSettings(Settings):
    """The whole way once, on synthetic speech."""

    out: Path = Path("runs/demo")
    speech: SpeechSettings = SpeechSettings()
    train: Path = Path("configs/runs/demo.yaml")
    """Configuration of the fine-tuning run; its folders are set by the demo."""
    set: list[str] = []
    """Overrides of that configuration, `optim.peak_lr=3e-4`."""
