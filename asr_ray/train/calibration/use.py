"""The numbers of a calibration in place of its path, once, before anything travels to other machines.

A plan must be the same wherever it is built, so the file is read by whoever starts a run and by nobody
else; RUN/config.yaml keeps the numbers, and a later calibration at the same path changes no run.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

from asr_ray.errors import ConfigError
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import inspect_nemo
from asr_ray.settings import CostSettings, DataSettings, TrainSettings
from asr_ray.train.calibration.record import Calibration, Subject

log = logging.getLogger(__name__)

T = TypeVar("T", bound=TrainSettings)


def with_calibration(settings: T) -> T:
    """Return the settings with the numbers of `data.calibration`, and without it; else unchanged.

    Raises:
        ConfigError: the record cannot be read, was made for another model, precision or set of trained
            parts, or holds no largest batch where `data.batch_s` asks for it.
    """
    path = settings.data.calibration
    if path is None:
        return settings
    calibration = Calibration.read(path)
    archive = inspect_nemo(resolve_base(settings.model.base), expected_sha256=settings.model.sha256)
    check_subject(calibration, wanted=Subject.of(settings, archive=archive), path=path)
    return settings.model_copy(update={"data": _with_numbers(settings.data, calibration, path=path)})


def check_subject(calibration: Calibration, *, wanted: Subject, path: Path) -> None:
    """Raise ConfigError when a calibration is of something else than a run is about."""
    measured = calibration.subject
    if measured == wanted:
        return
    wrong = [
        f"{name} {getattr(measured, name)}, this run has {getattr(wanted, name)}"
        for name in ("precision", "freeze", "lora_rank", "auxiliary_ctc")
        if getattr(measured, name) != getattr(wanted, name)
    ]
    if measured.architecture != wanted.architecture:
        wrong.insert(0, f"{calibration.model}, a model of other layers")
    raise ConfigError(
        f"{path} was measured with {'; '.join(wrong)}",
        fix="run jobs/calibrate.py with the configuration of this run, or take out data.calibration",
    )


def warn_of_other_device(cost: CostSettings | None, *, device_name: str) -> None:
    """Log when costs were measured on another kind of device than the one that trains."""
    if cost is not None and cost.device is not None and cost.device != device_name:
        log.warning(
            "batches are cut by costs measured on %s, but this is %s: ranks may wait for each other",
            cost.device,
            device_name,
        )


def _with_numbers(data: DataSettings, calibration: Calibration, *, path: Path) -> DataSettings:
    fit, limit = calibration.cost, calibration.limit
    numbers: dict[str, object] = {
        "calibration": None,
        "cost": CostSettings(a=fit.a, b=fit.b, c=fit.c, d=fit.d, device=calibration.device.name),
    }
    if data.batch_s is None:
        if limit is None:
            raise ConfigError(
                f"{path} holds no largest batch: {calibration.device.name} has no memory of its own to fill",
                fix="give data.batch_s as a number, or calibrate on a GPU",
            )
        most = min(data.max_batch_utterances, limit.max_batch_utterances)
        numbers |= {"batch_s": limit.batch_s, "max_batch_utterances": most}
    elif limit is not None and data.batch_s > limit.batch_s:
        log.warning(
            "data.batch_s is %g, and batches of more than %g s did not fit on %s",
            data.batch_s,
            limit.batch_s,
            calibration.device.name,
        )
    return data.model_copy(update=numbers)
