"""What people see of a run, from its metrics alone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from asr_ray.config import load
from asr_ray.metrics import MetricsFile, Row
from asr_ray.settings import TrainSettings
from asr_ray.train.telling.progress import Progress, line, newest_rates, screen

SETS = ("run_dir=runs/x", "max_steps=1000", "data.train=t", "data.validation=v", "model.base=tiny")
ROLES = ("validation.targets=[el-GR]", "validation.guards=[en-US]")


@pytest.fixture(scope="module")
def settings() -> TrainSettings:
    return load(None, schema=TrainSettings, sets=[*SETS, *ROLES]).settings


def step_row(step: int, *, loss: float = 12.3456) -> Row:
    speed = {"audio_s_per_s": 81.6, "data_wait_share": 0.04}
    return {"kind": "step", "step": step, "lr": 2.5e-4, "loss": loss, "elapsed_s": step * 2.0, **speed}


def validation_row(step: int, *, greek: float, english: float, best: int | None = None) -> Row:
    locales = {"el-GR": {"rate": greek}, "en-US": {"rate": english}}
    return {"kind": "validation", "step": step, "locales": locales, "best_step": best, "elapsed_s": 1.0}


ROWS = [
    validation_row(0, greek=0.99, english=0.07),
    step_row(100),
    validation_row(100, greek=0.5, english=0.08, best=100),
    step_row(200, loss=3.21),
    validation_row(200, greek=0.6, english=0.09, best=100),
]


def drawn(rows: list[Row], *, settings: TrainSettings) -> str:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(screen(rows, settings=settings))
    return console.export_text()


def test_a_line_says_where_the_run_is_and_when_it_ends(settings: TrainSettings) -> None:
    said = line([step_row(100)], settings=settings)
    assert said == (
        "step 100/1000  loss 12.346  lr 2.50e-04  82 s of audio/s  waiting for data 4%  ETA 0:30:00"
    )


def test_a_line_after_a_validation_is_about_it(settings: TrainSettings) -> None:
    assert line(ROWS[:3], settings=settings) == "step 100: error rate el-GR 50.0%, en-US 8.0%"


def test_before_the_first_step_the_screen_says_so(settings: TrainSettings) -> None:
    assert "starting the workers" in drawn([], settings=settings)
    assert "99.0%" in drawn(ROWS[:1], settings=settings)


def test_the_screen_shows_the_newest_step_and_each_locale_over_time(settings: TrainSettings) -> None:
    shown = drawn(ROWS, settings=settings)

    assert "runs/x" in shown
    for text in ("200 / 1,000", "3.210", "82 s/s", "4%", "0:26:40"):
        assert text in shown
    (header,) = [each for each in shown.splitlines() if "error rate" in each]
    assert header.split()[1:-1] == ["error", "rate", "base", "step", "100", "*", "step", "200"]
    (greek,) = [each for each in shown.splitlines() if "el-GR" in each]
    assert greek.split()[1:-1] == ["el-GR", "99.0%", "50.0%", "60.0%"]
    assert "en-US (guard)" in shown


def test_a_long_run_shows_the_base_and_the_last_validations(settings: TrainSettings) -> None:
    rows = [validation_row(step, greek=step / 1000, english=0.1, best=300) for step in range(0, 900, 100)]

    shown = drawn(rows, settings=settings)

    assert all(text in shown for text in ("base", "step 400", "step 800"))
    assert "step 300" not in shown


def test_newest_rates(settings: TrainSettings) -> None:
    assert newest_rates(ROWS) == {"el-GR": 0.6, "en-US": 0.09}
    assert newest_rates([step_row(1)]) == {}


def test_without_a_terminal_each_validation_is_one_plain_line(
    settings: TrainSettings, tmp_path: Path
) -> None:
    metrics, out = MetricsFile(tmp_path), io.StringIO()
    with Progress(settings, console=Console(file=out, width=40)) as progress:
        progress.update(tmp_path)
        for row in ROWS[:3]:
            metrics.append(row)
            progress.update(tmp_path)
            progress.update(tmp_path)

    assert out.getvalue().splitlines() == [
        "step 0: error rate el-GR 99.0%, en-US 7.0%",
        "step 100: error rate el-GR 50.0%, en-US 8.0%",
    ]


def test_on_a_terminal_the_screen_is_redrawn(settings: TrainSettings, tmp_path: Path) -> None:
    MetricsFile(tmp_path).append(step_row(100))
    out = io.StringIO()
    with Progress(settings, console=Console(file=out, width=120, force_terminal=True)) as progress:
        progress.update(tmp_path)

    # Colours stand between name and value.
    assert all(text in out.getvalue() for text in ("100 / 1,000", "12.346", "0:30:00"))


REPLAYED = ("data.mix.replay={share: 0.3, locales: [en-US]}",)
HEARD = {"consumed_s": {"el-GR/radio": 5400.0, "en-US/books": 1800.0}}
REASON = (
    "guards lost more than 5 points in each of the last 3 validations: at step 200 en-US 20.0% (base 7.0%)"
)
STOPPED = {"kind": "stopped", "step": 200, "reason": REASON}


@pytest.fixture(scope="module")
def replaying() -> TrainSettings:
    return load(None, schema=TrainSettings, sets=[*SETS, *ROLES, *REPLAYED]).settings


def test_what_was_heard_stands_beside_the_guards(replaying: TrainSettings) -> None:
    rows = [*ROWS, validation_row(300, greek=0.4, english=0.2) | HEARD]
    shown = drawn(rows, settings=replaying)
    (english,) = [each for each in shown.splitlines() if "en-US" in each]
    assert english.split()[-6:-1] == ["9.0%", "20.0%", "0.50", "h", "replay"]
    assert "1.50 h" in shown
    assert line(rows, settings=replaying) == (
        "step 300: error rate el-GR 40.0%, en-US 20.0%; replay en-US 25.0% of 2.00 h"
    )
    assert "nothing of" not in shown


def test_replay_that_was_never_heard_cannot_be_missed(replaying: TrainSettings) -> None:
    deaf = validation_row(300, greek=0.4, english=0.2) | {"consumed_s": {"el-GR/radio": 7200.0}}
    assert "replay: nothing of en-US was heard" in drawn([*ROWS, deaf], settings=replaying)
    # Before the first step nothing can have been.
    assert "nothing of" not in drawn([deaf | {"step": 0}], settings=replaying)


def test_a_run_that_was_ended_says_why(settings: TrainSettings) -> None:
    rows = [*ROWS, STOPPED]
    assert line(rows, settings=settings) == f"ended at step 200: {REASON}"
    assert "ended: guards lost more than 5 points" in drawn(rows, settings=settings)
    # A more patient configuration went on with it.
    assert "ended:" not in drawn([*rows, step_row(210)], settings=settings)


def test_the_mean_of_checkpoints_is_no_news(settings: TrainSettings) -> None:
    average = {"kind": "average", "step": 200, "of_steps": [100, 200], "taken": True, "locales": {}}
    assert line([*ROWS, average], settings=settings) == line(ROWS, settings=settings)
