"""Configuration -> the planned data of a run, checked against its base model; needs neither Ray nor NeMo."""

from __future__ import annotations

from asr_ray.data.planned import PlannedData
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import TrainSettings


def with_absolute_paths(settings: TrainSettings) -> TrainSettings:
    """Return the settings as workers need them: Ray Train starts them in a folder of its own.

    Raises:
        ConfigError: the base model does not exist.
    """
    data = {name: getattr(settings.data, name).resolve() for name in ("train", "validation")}
    return settings.model_copy(
        update={
            "run_dir": settings.run_dir.resolve(),
            "data": settings.data.model_copy(update=data),
            "model": settings.model.model_copy(
                update={"base": str(resolve_base(settings.model.base).resolve())}
            ),
        }
    )


def planned_data(settings: TrainSettings) -> PlannedData:
    """Inspect the base model and return the data of the run.

    Raises:
        ConfigError, DataError: model, tokenizer, locales, mix and shards do not fit together.
    """
    base = resolve_base(settings.model.base)
    archive = inspect_nemo(base, expected_sha256=settings.model.sha256)
    tokenizer = NemoTokenizer.from_nemo(base)
    return PlannedData.build(settings, tokenizer=tokenizer, prompts=archive.prompt_table)
