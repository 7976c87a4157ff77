"""Services that follow a run beside its own metrics file."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from asr_ray.config import Settings


class WandbSettings(Settings):
    """Weights & Biases; the key comes from WANDB_API_KEY, WANDB_MODE=offline sends nothing."""

    project: str = "asr-ray"
    entity: str | None = None
    """Team or user; null takes the default of the key."""
    name: str | None = None
    """Name of the run; null takes that of its folder."""


def _no_password(uri: str | None) -> str | None:
    # What a configuration holds, every log and tracker may show.
    if uri is not None and urlsplit(uri).password is not None:
        raise ValueError(
            "holds a password; take it out and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    return uri


class MlflowSettings(Settings):
    """MLflow; credentials come from its own environment variables."""

    experiment: str = "asr-ray"
    tracking_uri: Annotated[str | None, AfterValidator(_no_password)] = None
    """Address of a server; null takes MLFLOW_TRACKING_URI."""
    name: str | None = None
    """Name of the run; null takes that of its folder."""


class TrackerSettings(Settings):
    """Who is told of a run besides `metrics.jsonl` and TensorBoard, which always are; null tells nobody."""

    wandb: WandbSettings | None = None
    mlflow: MlflowSettings | None = None
