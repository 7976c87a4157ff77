"""The numbers of a record take the place of its path, and only in a run that it was made for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asr_ray.config import dump, load
from asr_ray.errors import ConfigError
from asr_ray.model.nemo_file import inspect_nemo, load_model, save_model
from asr_ray.model.tiny import TinySize, build_tiny_model
from asr_ray.settings import CostSettings, TrainSettings
from asr_ray.train.calibration.record import BatchLimit, Subject
from asr_ray.train.calibration.use import warn_of_other_device, with_calibration

Configure = Callable[..., TrainSettings]
Record = Callable[..., Path]

MEASURED = CostSettings(a=1 / 3, b=0.1, c=1e-7, d=0.02, device="GPU of 24 GB")


def test_without_a_calibration_nothing_changes(configure: Configure) -> None:
    settings = configure()
    assert with_calibration(settings) is settings


def test_the_numbers_are_taken_and_the_file_is_not_needed_again(
    configure: Configure, record: Record, tmp_path: Path
) -> None:
    path = record()
    settings = with_calibration(configure(f"data.calibration={path}", "data.batch_s=60"))
    path.unlink()

    assert settings.data.calibration is None
    assert settings.data.cost == MEASURED
    assert (settings.data.batch_s, settings.data.max_batch_utterances) == (60.0, 512)
    assert with_calibration(settings) is settings
    # What travels to other machines, and what RUN/config.yaml keeps, are the same numbers to the last bit.
    assert type(settings.data).model_validate_json(settings.data.model_dump_json()) == settings.data
    kept = tmp_path / "config.yaml"
    kept.write_text(dump(settings))
    assert load(kept, schema=TrainSettings).settings == settings


def test_batch_s_null_takes_the_largest_batch(configure: Configure, record: Record) -> None:
    settings = with_calibration(configure(f"data.calibration={record()}", "data.batch_s=null"))
    assert (settings.data.max_padded_s, settings.data.max_batch_utterances) == (90.0, 90)


def test_a_lower_limit_of_utterances_stays(configure: Configure, record: Record) -> None:
    sets = (f"data.calibration={record()}", "data.batch_s=null", "data.max_batch_utterances=16")
    assert with_calibration(configure(*sets)).data.max_batch_utterances == 16


def test_a_cpu_gives_no_largest_batch(configure: Configure, record: Record) -> None:
    with pytest.raises(ConfigError, match="no largest batch"):
        with_calibration(configure(f"data.calibration={record(limit=None)}", "data.batch_s=null"))


def test_a_batch_above_the_limit_is_warned_of(
    configure: Configure, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    limit = BatchLimit(batch_s=240.0, max_batch_utterances=90)
    with caplog.at_level(logging.WARNING, logger="asr_ray"):
        with_calibration(configure(f"data.calibration={record(limit=limit)}", "data.batch_s=240"))
        assert not caplog.records
        with_calibration(configure(f"data.calibration={record()}", "data.batch_s=240"))
    assert "more than 90 s did not fit" in caplog.text


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("precision=bf16", "precision fp32, this run has bf16"),
        ("model.freeze=encoder", "freeze none, this run has encoder"),
        ("model.auxiliary_ctc_weight=0.3", "auxiliary_ctc False, this run has True"),
    ],
)
def test_other_work_is_refused(configure: Configure, record: Record, override: str, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        with_calibration(configure(f"data.calibration={record()}", override))


def test_another_model_is_refused_and_a_tuned_one_is_not(
    configure: Configure,
    record: Record,
    micro_nemo: Path,
    micro_size: TinySize,
    tokenizer_folder: Path,
    tmp_path: Path,
) -> None:
    model = load_model(micro_nemo)
    model.decoder.prediction["embed"].weight.data.mul_(1.5)
    tuned = save_model(model, tmp_path / "tuned.nemo")
    smaller = build_tiny_model(tokenizer_folder, seed=3, size=replace(micro_size, num_layers=1))
    other = save_model(smaller, tmp_path / "other.nemo")
    path = record()

    assert (
        with_calibration(configure(f"data.calibration={path}", f"model.base={tuned}")).data.cost == MEASURED
    )
    with pytest.raises(ConfigError, match="a model of other layers"):
        with_calibration(configure(f"data.calibration={path}", f"model.base={other}"))


def test_the_subject_names_what_a_run_trains(configure: Configure, micro_nemo: Path) -> None:
    archive = inspect_nemo(micro_nemo)
    subject = Subject.of(configure("precision=bf16", "model.freeze=encoder"), archive=archive)
    assert subject == Subject(
        architecture=archive.architecture, precision="bf16", freeze="encoder", auxiliary_ctc=False
    )


@pytest.mark.parametrize(
    ("cost", "warned"),
    [(None, False), (CostSettings(), False), (MEASURED, True), (CostSettings(device="here"), False)],
)
def test_another_kind_of_device_is_warned_of(
    cost: CostSettings | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="asr_ray"):
        warn_of_other_device(cost, device_name="here")
    assert bool(caplog.records) is warned


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        (("data.calibration=x.json", "data.cost.a=1"), "gives cost and calibration; choose one"),
        (("data.batch_s=null",), "batch_s is null"),
    ],
)
def test_what_contradicts_itself_is_refused_at_once(
    configure: Configure, sets: tuple[str, ...], names: str
) -> None:
    with pytest.raises(ConfigError, match=names):
        configure(*sets)


def test_an_absent_record_is_refused_when_it_is_needed(configure: Configure) -> None:
    settings = configure("data.calibration=absent.json")
    with pytest.raises(ConfigError, match=r"absent\.json: cannot be read"):
        with_calibration(settings)
