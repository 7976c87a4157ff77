"""A curve has a point for each context, by rising latency, and a plot shows all of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from asr_ray.contexts import AttContextSize
from asr_ray.evaluate.pages.latency import latency_curves, latency_plot
from asr_ray.evaluate.scoring.score import EvalReport, score_pairs
from asr_ray.locales import LOCALES
from asr_ray.testing.transcripts import made_up_hypotheses


def scored(*locales: str) -> dict[AttContextSize, dict[str, EvalReport]]:
    def report(noise: float) -> EvalReport:
        rows = [row for tag in locales for row in made_up_hypotheses(10, noise=noise, locale=tag)]
        return score_pairs(rows, replications=50)

    return {
        (56, 13): {"base": report(0.2), "tuned": report(0.0)},
        (56, 0): {"base": report(0.5), "tuned": report(0.3)},
    }


def test_points_stand_by_rising_latency() -> None:
    both = scored("el-GR", "ja-JP")
    curves = latency_curves(both)
    assert list(curves) == ["el-GR", "ja-JP"]
    assert [point.chunk_ms for point in curves["el-GR"]["tuned"]] == [80, 1120]
    assert [point.rate for point in curves["el-GR"]["base"]] == [
        both[context]["base"].locales["el-GR"].rate for context in ((56, 0), (56, 13))
    ]
    assert latency_curves({(56, 0): both[56, 0]}) == {}


@pytest.mark.parametrize("locales", [["el-GR"], ["el-GR", "ja-JP"], list(LOCALES)])
@pytest.mark.parametrize("names", [["base", "tuned"], ["tuned"]])
def test_plot_shows_every_locale_and_model_inside_its_frame(locales: list[str], names: list[str]) -> None:
    root = ElementTree.fromstring(latency_plot(latency_curves(scored(*locales)), names=names))
    marks = [each for each in root.iter("circle") if "mark" in each.get("class", "")]
    assert len(marks) == 2 * len(locales) * len(names)
    assert {each.text for each in root.iter("text")} >= {*locales, "80", "1,120"}
    width, height = (float(part) for part in root.get("viewBox", "").split()[2:])
    for mark in marks:
        assert 0 <= float(mark.get("cx", "-1")) <= width
        assert 0 <= float(mark.get("cy", "-1")) <= height
