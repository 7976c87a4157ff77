"""A loss fails when it is both too large and no chance; everything that failed is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.errors import RegressionError
from asr_ray.evaluate.gate import (
    Finding,
    Gate,
    findings_of_intervals,
    findings_of_means,
    findings_of_pairs,
    regression_error,
)
from asr_ray.evaluate.scoring.paired import compare
from asr_ray.evaluate.scoring.score import score_pairs
from asr_ray.settings import CompareSettings
from asr_ray.testing.transcripts import made_up_hypotheses


def settings(**values: object) -> CompareSettings:
    return CompareSettings.model_validate({"baseline": Path("metrics.json"), **values})


def finding(
    what: str = "el-GR", *, before: float = 0.1, after: float = 0.1, half: float = 0.01, limit: float = 0.005
) -> Finding:
    delta = after - before
    return Finding(
        what=what,
        unit="wer",
        before=before,
        after=after,
        ci95=(delta - half, delta + half),
        limit=limit,
        evidence="paired",
    )


@pytest.mark.parametrize(
    ("after", "half", "limit", "passed"),
    [
        (0.13, 0.01, 0.005, False),  # large and certain
        (0.13, 0.04, 0.005, True),  # large, may be chance
        (0.104, 0.001, 0.005, True),  # certain, within the limit
        (0.13, 0.01, 0.05, True),  # certain, allowed
        (0.05, 0.01, 0.0, True),  # better
        (0.101, 0.0005, 0.0, False),  # no loss allowed at all
    ],
)
def test_a_loss_fails_when_it_is_too_large_and_no_chance(
    after: float, half: float, limit: float, passed: bool
) -> None:
    assert finding(after=after, half=half, limit=limit).passed is passed


def test_the_paired_test_sees_what_intervals_cannot() -> None:
    base = made_up_hypotheses(400, noise=0.20)
    # The same errors, and every tenth utterance with one more word.
    worse = [
        row if index % 10 else type(row)(**{**_fields(row), "hyp": f"{row.hyp} λέξη"})
        for index, row in enumerate(base)
    ]
    before, after = score_pairs(base), score_pairs(worse)
    [paired] = findings_of_pairs(compare(base, worse), report=after, compare=settings())
    score = before.locales["el-GR"]
    [by_intervals] = findings_of_intervals(
        {"el-GR": (score.rate, score.ci95)}, report=after, compare=settings()
    )
    assert paired.before == pytest.approx(score.rate)
    assert paired.delta == pytest.approx(by_intervals.delta)
    assert not paired.passed
    assert by_intervals.passed
    assert by_intervals.evidence == "intervals"


def _fields(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}  # type: ignore[attr-defined]


def test_limits_are_points_and_may_differ_by_locale() -> None:
    rows = made_up_hypotheses(20, noise=0.1) + made_up_hypotheses(20, noise=0.1, locale="bg-BG")
    asked = settings(max_loss_points=1.5, max_loss_points_by_locale={"bg-BG": 0.0})
    found = findings_of_pairs(compare(rows, rows), report=score_pairs(rows), compare=asked)
    assert {each.what: each.limit for each in found} == {"bg-BG": 0.0, "el-GR": 0.015}
    assert all(each.passed for each in found)


@given(rises=st.lists(st.floats(0, 0.3), min_size=1, max_size=8))
def test_a_mean_is_surer_than_its_locales(rises: list[float]) -> None:
    findings = [finding(str(n), after=0.1 + rise, half=0.02) for n, rise in enumerate(rises)]
    [mean] = findings_of_means(findings, compare=settings(max_macro_loss_points={"wer": 1.0, "cer": 1.0}))
    assert mean.what == "mean wer"
    assert mean.delta == pytest.approx(sum(rises) / len(rises))
    assert mean.ci95[1] - mean.ci95[0] == pytest.approx(0.04 / len(rises) ** 0.5)
    assert findings_of_means(findings, compare=settings()) == []


def test_everything_that_failed_is_named_with_its_condition() -> None:
    bad = [finding("el-GR", after=0.3), finding("mt-MT", after=0.4), finding("lv-LV")]
    gate = Gate(baseline="v1", candidate="v2", findings=bad)
    assert [each.what for each in gate.failed] == ["mt-MT", "el-GR"]
    assert gate.to_json()["failed"] == ["mt-MT", "el-GR"]
    assert gate.to_json()["passed"] is False
    error = regression_error({"test, streaming": gate, "test, offline": None})
    assert isinstance(error, RegressionError)
    assert error.exit_code == 7
    assert "mt-MT: 10.00% -> 40.00%, +30.00 points" in str(error)
    assert "streaming" in str(error)
    assert "lv-LV" not in str(error)
    assert regression_error({"test": Gate(baseline="v1", candidate="v2", findings=bad[2:])}) is None
