"""From a configuration to a record: on the CPU for real, and on a made-up GPU that keeps to a formula."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asr_ray.config import load
from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.model.nemo_file import sha256_of
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import CalibrateSettings, TrainSettings
from asr_ray.testing.prepared import write_prepared
from asr_ray.train.calibration.record import Calibration, Point, Shape
from asr_ray.train.calibration.run import calibrate, dense_tokens_per_s, examine
from asr_ray.train.setup import planned_data

JOBS = Path(__file__).resolve().parents[3] / "jobs"
LIMIT_BYTES = 20e9

Settings = Callable[..., CalibrateSettings]


FAR_APART = ("data.batch_s=24", "durations_s=[1, 8]", "repeats=3")
"""For real clocks: the longer batch takes longer on the busiest machine."""


@pytest.fixture
def settings(micro_nemo: Path, tmp_path: Path) -> Settings:
    """Settings of a small calibration of `micro_nemo` with some overrides."""

    def configured(*sets: str) -> CalibrateSettings:
        return load(None, schema=CalibrateSettings, sets=[*small(micro_nemo, tmp_path), *sets]).settings

    return configured


def small(model: Path, folder: Path) -> list[str]:
    """A grid of six batches of at most two seconds."""
    return [
        f"model.base={model}",
        f"run_dir={folder}",
        f"data.train={folder / 'train'}",
        "data.validation=v",
        "validation.targets=[el-GR]",
        "data.batch_s=2",
        "durations_s=[0.5, 1.0]",
        "repeats=1",
    ]


@dataclass
class MadeUpGpu:
    """Takes time and memory by a formula, and runs out above `limit_bytes`.

    Attributes:
        fixed_bytes: taken before any batch.
        slow_first: by how much the first step with a shape is slower.
    """

    limit_bytes: float = LIMIT_BYTES
    fixed_bytes: float = 9.6e9
    slow_first: float = 10.0
    seen: set[Shape] = field(default_factory=set)
    largest_tried: dict[float, int] = field(default_factory=dict)

    def needed(self, shape: Shape) -> float:
        return (
            self.fixed_bytes
            + 40e6 * shape.padded_s
            + 2e5 * shape.padded_s * shape.duration_s
            + 60 * shape.cells
        )

    def step(self, shape: Shape) -> Point:
        if self.needed(shape) > self.limit_bytes:
            raise EnvironmentFault(f"{shape} does not fit")
        per_utterance = shape.duration_s * (2e-3 + 1e-5 * shape.duration_s + 2e-5 * (shape.num_tokens + 1))
        step_s = shape.utterances * per_utterance + 0.1
        first = shape not in self.seen
        self.seen.add(shape)
        return Point(
            shape=shape,
            step_s=self.slow_first * step_s if first else step_s,
            peak_bytes=int(self.needed(shape)),
        )

    def fits(self, shape: Shape) -> bool:
        fitting = self.needed(shape) <= self.limit_bytes
        if fitting:
            known = self.largest_tried.get(shape.duration_s, 0)
            self.largest_tried[shape.duration_s] = max(known, shape.utterances)
        return fitting


def test_a_gpu_is_filled_and_its_formula_found_out(settings: Settings) -> None:
    gpu = MadeUpGpu()
    wanted = settings("data.batch_s=null", "data.calibration=c.json", "durations_s=[1, 5, 10, 20, 40]")

    found = examine(gpu, settings=wanted, tokens_per_s=8.0, limit_bytes=LIMIT_BYTES)

    assert found.limit is not None
    for each in found.largest:
        shape = Shape(utterances=each.utterances, duration_s=each.duration_s, num_tokens=each.num_tokens)
        more = shape.model_copy(update={"utterances": each.utterances + 1 + each.utterances // 20})
        assert gpu.needed(shape) <= LIMIT_BYTES < gpu.needed(more)
        assert each.utterances == gpu.largest_tried[each.duration_s]
        assert shape.padded_s >= found.limit.batch_s
        assert each.predicted_utterances == pytest.approx(each.utterances, rel=0.06, abs=1)
    assert max(point.shape.padded_s for point in found.points) == pytest.approx(found.limit.batch_s, rel=0.2)
    fit = (found.cost.a, found.cost.b, found.cost.c, found.cost.d)
    # The slow first step of each shape is not in it.
    assert fit == pytest.approx((2e-3, 1e-5, 2e-5, 0.1), rel=1e-3)
    assert found.memory is not None
    assert (found.memory.fixed, found.memory.per_s) == pytest.approx((9.6e9, 40e6), rel=1e-3)


def test_batches_that_are_asked_for_and_do_not_fit_are_not_measured(settings: Settings) -> None:
    wanted = settings("data.batch_s=5000", "durations_s=[5, 10, 20]")
    found = examine(MadeUpGpu(), settings=wanted, tokens_per_s=8.0, limit_bytes=LIMIT_BYTES)
    assert found.limit is not None
    assert max(point.shape.padded_s for point in found.points) <= found.limit.batch_s < 5000


def test_a_gpu_that_is_too_small_for_one_utterance_is_said_so(settings: Settings) -> None:
    gpu = MadeUpGpu(limit_bytes=9.7e9)
    # The first step, of one token, still fits.
    gpu.limit_bytes = gpu.needed(Shape(utterances=1, duration_s=1.0, num_tokens=1))
    with pytest.raises(EnvironmentFault, match="not one utterance of 1 s"):
        examine(gpu, settings=settings("durations_s=[1, 2]"), tokens_per_s=8.0, limit_bytes=gpu.limit_bytes)


def test_on_the_cpu_it_measures_writes_and_is_planned_with(
    settings: Settings, micro_nemo: Path, tmp_path: Path
) -> None:
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    write_prepared(tmp_path / "train", {("el-GR", "radio"): 24}, tokenizer=tokenizer)
    wanted = settings(*FAR_APART)

    calibration = calibrate(wanted)

    assert wanted.record == tmp_path / "calibration.json"
    assert Calibration.read(wanted.record) == calibration
    assert calibration.sha256 == sha256_of(micro_nemo)
    assert (calibration.memory, calibration.limit, calibration.largest) == (None, None, [])
    assert len(calibration.points) >= 6
    assert max(calibration.cost.a, calibration.cost.c) > 0
    assert calibration.tokens_per_s == dense_tokens_per_s(wanted)
    sets = [part for part in small(micro_nemo, tmp_path) if not part.startswith(("durations", "repeats"))]
    by_default, calibrated = (
        planned_data(load(None, schema=TrainSettings, sets=[*sets, *more]).settings)
        for more in ([], [f"data.calibration={wanted.record}"])
    )
    cost = calibrated.plan.cost
    assert (cost.a, cost.b, cost.c, cost.d) == tuple(
        getattr(calibration.cost, name) for name in ("a", "b", "c", "d")
    )
    assert calibrated.plan.place_digest != by_default.plan.place_digest


def test_dense_speech_is_what_most_utterances_stay_below(
    settings: Settings, micro_nemo: Path, tmp_path: Path
) -> None:
    assert dense_tokens_per_s(settings()) == 8.0
    tokenizer = NemoTokenizer.from_nemo(micro_nemo)
    catalog = write_prepared(tmp_path / "train", {("el-GR", "radio"): 200}, tokenizer=tokenizer)
    told = catalog.durations_s >= 0.5
    rates = catalog.num_tokens[told] / catalog.durations_s[told]

    dense = dense_tokens_per_s(settings())

    assert 0.9 < (rates <= dense).mean() < 1.0


def test_a_cpu_cannot_tell_a_batch_size(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="a CPU has no memory of its own"):
        calibrate(settings("data.batch_s=null", "data.calibration=c.json"))


@pytest.mark.parametrize("durations", ["[]", "[1]", "[1, 1]", "[1, 5]"])
def test_one_length_alone_shows_no_slope(settings: Settings, durations: str) -> None:
    with pytest.raises(ConfigError, match="fewer than two lengths fit into a batch"):
        settings(f"durations_s={durations}")


def test_the_record_goes_where_it_will_be_looked_for(settings: Settings, tmp_path: Path) -> None:
    assert settings().record == tmp_path / "calibration.json"
    assert settings("data.calibration=c.json").record == Path("c.json")
    assert settings("data.calibration=c.json", "out=o.json").record == Path("o.json")


def test_the_job_shows_what_it_found_and_what_to_do_next(
    micro_nemo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [part for text in (*small(micro_nemo, tmp_path), *FAR_APART) for part in ("--set", text)]
    monkeypatch.setattr(sys, "path", [str(JOBS), *sys.path])
    shown = []
    for flags in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", [str(JOBS / "calibrate.py"), *sets, *flags])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(JOBS / "calibrate.py"), run_name="__main__")
        assert ended.value.code == 0
        shown.append(capsys.readouterr().out)
    record = tmp_path / "calibration.json"
    assert f"--set data.calibration={record}" in shown[0].replace("\n", "")
    tree = json.loads(shown[1])
    assert (tree["record"], tree["cost"]["a"] >= 0) == (str(record), True)
    assert tree["cost"] == json.loads(record.read_text())["cost"]
