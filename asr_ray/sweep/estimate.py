"""What is on the disk before a sweep begins: how much data there is, and how long a step takes."""

from __future__ import annotations

from asr_ray.data.catalog import Catalog
from asr_ray.data.plan_summary import plan_summary
from asr_ray.sweep.mixes import hours_by_locale
from asr_ray.sweep.space import Sweep
from asr_ray.train.setup import planned_data, resolved, with_absolute_paths


def known_data(sweep: Sweep) -> Sweep:
    """Return the sweep with the hours of its training data; as it is where nothing is prepared yet."""
    settings = sweep.settings_of({}, run_dir=sweep.settings.out)
    catalog = settings.data.train / "catalog.parquet"
    return (
        sweep.with_hours(hours_by_locale(Catalog.read(catalog).seconds_by_key)) if catalog.exists() else sweep
    )


def predicted_step_s(sweep: Sweep) -> float | None:
    """Return the seconds of a step of the plan by the calibration of the runs; None without one."""
    settings = sweep.settings_of(sweep.configured, run_dir=sweep.settings.out)
    if settings.data.calibration is None:
        return None
    settings = resolved(with_absolute_paths(settings))
    planned = planned_data(settings)
    summary = plan_summary(planned.plan, steps=planned.num_steps, world_size=settings.resources.max_workers)
    return summary.step_cost
