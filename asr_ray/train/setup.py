"""Configuration -> the planned data of a run, checked against its base model; needs neither Ray nor NeMo."""

from __future__ import annotations

from asr_ray.data.planned import PlannedData
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.model.prompt import extended_table
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import DataSettings, TrainSettings
from asr_ray.settings.augment import AugmentSettings
from asr_ray.settings.model import HubModel
from asr_ray.train.calibration.use import with_calibration
from asr_ray.train.parts import check_layers
from asr_ray.train.schedule import accumulated_batches


def with_absolute_paths(settings: TrainSettings) -> TrainSettings:
    """Return the settings as workers need them: Ray Train starts them in a folder of its own.

    Raises:
        ConfigError: the base model does not exist.
    """
    return settings.model_copy(
        update={
            "run_dir": settings.run_dir.resolve(),
            "data": _data_with_absolute_paths(settings.data),
            "validation": settings.validation.model_copy(
                update={
                    "base_scores": settings.validation.base_scores
                    and settings.validation.base_scores.resolve()
                }
            ),
            "model": settings.model.model_copy(update={"base": _base_for_workers(settings.model.base)}),
        }
    )


def _base_for_workers(base: str | HubModel) -> str | HubModel:
    """A path as seen from any folder; names that each node finds for itself stay names.

    A file of the Hub is in the cache of each node. The tiny base is in the package, and the copy of it that a
    submitted job has ends with the job.
    """
    if isinstance(base, HubModel) or base == "tiny":
        return base
    return str(resolve_base(base).resolve())


def _data_with_absolute_paths(data: DataSettings) -> DataSettings:
    sources = {
        name: own.model_copy(update={"augment": own.augment and _augment_with_absolute_paths(own.augment)})
        for name, own in (data.sources or {}).items()
    }
    return data.model_copy(
        update={
            "train": data.train.resolve(),
            "validation": data.validation.resolve(),
            "calibration": data.calibration and data.calibration.resolve(),
            "augment": _augment_with_absolute_paths(data.augment),
            "sources": sources or data.sources,
        }
    )


def _augment_with_absolute_paths(augment: AugmentSettings) -> AugmentSettings:
    room, noise = augment.room, augment.noise
    return augment.model_copy(
        update={
            "room": room and room.model_copy(update={"path": room.path.resolve()}),
            "noise": noise and noise.model_copy(update={"path": noise.path.resolve()}),
        }
    )


def resolved(settings: TrainSettings) -> TrainSettings:
    """Return the settings with numbers in place of what is to be computed: of the calibration, of the batch.

    Raises:
        ConfigError: as `with_calibration`.
    """
    settings = with_calibration(settings)
    optim = settings.optim
    if optim.global_batch_s is None:
        return settings
    accumulate = accumulated_batches(
        optim.global_batch_s,
        batch_s=settings.data.max_padded_s,
        num_workers=settings.resources.max_workers,
    )
    numbers = {"accumulate": accumulate, "global_batch_s": None}
    return settings.model_copy(update={"optim": optim.model_copy(update=numbers)})


def planned_data(settings: TrainSettings) -> PlannedData:
    """Inspect the base model and return the data of the run.

    Raises:
        ConfigError, DataError: model, tokenizer, locales, mix, shards and calibration do not fit together.
    """
    settings = resolved(settings)
    base = resolve_base(settings.model.base)
    archive = inspect_nemo(base, expected_sha256=settings.model.sha256)
    check_layers(settings.model, num_layers=archive.num_encoder_layers)
    tokenizer = NemoTokenizer.from_nemo(base)
    prompts = extended_table(archive.prompt_table, settings.model.new_locales or {})
    return PlannedData.build(settings, tokenizer=tokenizer, prompts=prompts)
