"""The schema of every job's configuration: one field, one default, one line of documentation each.

Cross-field rules raise here, before Ray or a GPU is touched. Field names carry their units.
"""

from __future__ import annotations

from asr_ray.settings.augment import AugmentSettings
from asr_ray.settings.calibrate import CalibrateSettings
from asr_ray.settings.data import (
    CostSettings,
    DataSettings,
    MixChange,
    MixSettings,
    ReplaySettings,
    SourceSettings,
)
from asr_ray.settings.demo import DemoSettings, SpeechSettings
from asr_ray.settings.doctor import DoctorSettings
from asr_ray.settings.evaluate import CompareSettings, EvaluateSettings
from asr_ray.settings.export import ExportSettings
from asr_ray.settings.fields import LocaleTag, MixKey, Share
from asr_ray.settings.model import (
    HubModel,
    LoraSettings,
    ModelSettings,
    NewLocaleSettings,
    SpecAugmentSettings,
)
from asr_ray.settings.optim import OptimSettings, RateSettings
from asr_ray.settings.prepare import (
    CheckDataSettings,
    CheckSettings,
    ColumnSettings,
    CorpusSettings,
    PrepareSettings,
)
from asr_ray.settings.sweep import (
    AshaSettings,
    FinalistSettings,
    PbtSettings,
    SweepFileSettings,
    SweepSettings,
)
from asr_ray.settings.trackers import MlflowSettings, TrackerSettings, WandbSettings
from asr_ray.settings.train import (
    CheckpointSettings,
    ResourceSettings,
    TrainSettings,
    ValidationSettings,
)

__all__ = [
    "AshaSettings",
    "AugmentSettings",
    "CalibrateSettings",
    "CheckDataSettings",
    "CheckSettings",
    "CheckpointSettings",
    "ColumnSettings",
    "CompareSettings",
    "CorpusSettings",
    "CostSettings",
    "DataSettings",
    "DemoSettings",
    "DoctorSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FinalistSettings",
    "HubModel",
    "LocaleTag",
    "LoraSettings",
    "MixChange",
    "MixKey",
    "MixSettings",
    "MlflowSettings",
    "ModelSettings",
    "NewLocaleSettings",
    "OptimSettings",
    "PbtSettings",
    "PrepareSettings",
    "RateSettings",
    "ReplaySettings",
    "ResourceSettings",
    "Share",
    "SourceSettings",
    "SpecAugmentSettings",
    "SpeechSettings",
    "SweepFileSettings",
    "SweepSettings",
    "TrackerSettings",
    "TrainSettings",
    "ValidationSettings",
    "WandbSettings",
]
