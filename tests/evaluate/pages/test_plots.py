"""Every plot is well-formed and shows each thing it was given, also at the edges."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from asr_ray.evaluate.objective import GuardPolicy
from asr_ray.evaluate.pages.plots import audio_plot, loss_plot, rate_plot, validation_plot
from asr_ray.evaluate.pages.tables import locale_rows
from asr_ray.evaluate.scoring.score import score_pairs
from asr_ray.locales import LOCALES
from asr_ray.testing.transcripts import made_up_hypotheses


def words_of(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def marks_of(svg: str, css: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter() if css in (e.get("class") or "").split()]


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
def test_rate_plot_has_a_mark_per_model_and_a_band_per_guard(noise: float) -> None:
    reports = {name: score_pairs(made_up_hypotheses(20, noise=noise)) for name in ("base", "tuned")}
    policy = GuardPolicy(targets=(), guards=("el-GR",))
    svg = rate_plot(locale_rows(reports, policy=policy), names=list(reports), max_guard_loss=0.05)
    assert len(marks_of(svg, "mark")) == 2
    assert len(marks_of(svg, "allowed")) == 1
    assert "el-GR" in words_of(svg)


def test_curves_of_any_length_stay_small() -> None:
    long = loss_plot([(step, 1.0 / step) for step in range(1, 100_000)])
    assert len(long) < 40_000
    assert marks_of(loss_plot([(1, 2.5)]), "curve")


def test_validation_plot_labels_do_not_overlap() -> None:
    tags = list(LOCALES)[:12]
    curves = {tag: [(0, 0.3), (100, 0.1)] for tag in tags}
    labels = marks_of(validation_plot(curves, guards=("en-US",)), "series-label")
    heights = sorted(float(label.get("y", "nan")) for label in labels)
    assert [label.text for label in labels] == tags
    assert min(after - before for before, after in itertools.pairwise(heights)) > 10
    assert heights[0] > 0


def test_of_many_locales_the_targets_and_the_worst_guards_are_named() -> None:
    guards = [tag for tag in LOCALES if tag != "el-GR"]
    curves = {"el-GR": [(0, 0.9), (100, 0.2)]} | {
        tag: [(0, 0.1), (100, 0.1 + 0.001 * index)] for index, tag in enumerate(guards)
    }
    svg = validation_plot(curves, guards=guards)
    named = [label.text for label in marks_of(svg, "series-label")]
    assert named[:2] == ["el-GR", guards[-1]]
    assert len(named) + len(marks_of(svg, "unnamed")) == len(LOCALES)


def test_audio_that_was_planned_and_never_used_is_named() -> None:
    words = words_of(
        audio_plot(planned_s={"el-GR": 600, "en-US": 600}, consumed_s={"el-GR": 600, "mt-MT": 60})
    )
    assert "10.0 of 10.0 (100%)" in words
    assert "0 of 10.0: never used" in words
    assert "1.0, not planned" in words


def test_long_runs_are_shown_in_hours() -> None:
    assert "hours" in words_of(audio_plot(planned_s={"el-GR": 36_000}, consumed_s={"el-GR": 18_000}))
    assert "minutes" in words_of(audio_plot(planned_s={"el-GR": 600}, consumed_s={}))
