"""A baseline is refused where a comparison with it would not be one, and before anything is decoded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_ray.errors import AsrRayError, ConfigError, DataError
from asr_ray.evaluate.baseline import gate_of, open_baselines
from asr_ray.evaluate.conditions import conditions_of
from asr_ray.evaluate.results import Decoded, write_results
from asr_ray.evaluate.scoring.paired import metrics_document
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs
from asr_ray.evaluate.testsets import TestSet
from asr_ray.settings import EvaluateSettings
from asr_ray.testing.transcripts import made_up_hypotheses

ROWS = made_up_hypotheses(40, noise=0.1) + made_up_hypotheses(40, noise=0.1, locale="bg-BG")


def write_baseline(
    folder: Path, rows: Sequence[Hypothesis] = ROWS, *, keep: bool = True, **values: Any
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document = metrics_document({"v1": score_pairs(rows)}, context=(56, 3), mode="offline", prompt="locale")
    (folder / "metrics.json").write_text(json.dumps(document | values), encoding="utf-8")
    if keep:
        write_results(folder / "v1", Decoded(rows=rows, decode_s=1.0), decoded={})
    return folder / "metrics.json"


def asked(tmp_path: Path, **compare: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate(
        {
            "models": {"v2": "tiny"},
            "data": {"test": tmp_path / "data"},
            "out": tmp_path / "out",
            "compare": {"baseline": tmp_path / "old/metrics.json", **compare},
        }
    )


def test_set(rows: Sequence[Hypothesis] = ROWS) -> Mapping[str, TestSet]:
    ids, locales = [row.id for row in rows], [row.locale for row in rows]
    found = TestSet(root=Path(), catalog=None, rows=np.arange(len(rows)), ids=ids, locales=locales)  # type: ignore[arg-type]  # not read here
    return {"test": found}


test_set.__test__ = False  # type: ignore[attr-defined]


def opened(settings: EvaluateSettings, rows: Sequence[Hypothesis] = ROWS) -> Any:
    found = open_baselines(settings, conditions=conditions_of(settings), test_sets=test_set(rows))
    return next(iter(found.values()), None)


@pytest.mark.parametrize("keep", [True, False])
def test_a_damaged_locale_fails_alone(tmp_path: Path, keep: bool) -> None:
    write_baseline(tmp_path / "old", keep=keep)
    settings = asked(tmp_path)
    baseline = opened(settings)
    assert baseline.model == "v1"
    damaged = [dataclasses.replace(row, hyp="") if row.locale == "el-GR" else row for row in ROWS]
    assert settings.compare
    gate = gate_of(
        baseline,
        damaged,
        report=score_pairs(damaged),
        candidate="v2",
        compared=settings.compare,
        seed=1,
    )
    assert [each.what for each in gate.failed] == ["el-GR"]
    assert {each.evidence for each in gate.findings} == {"paired" if keep else "intervals"}


def test_a_new_locale_is_named_and_not_judged(tmp_path: Path) -> None:
    write_baseline(tmp_path / "old")
    settings = asked(tmp_path)
    rows = [*ROWS, *made_up_hypotheses(5, noise=0.9, locale="mt-MT")]
    assert settings.compare
    gate = gate_of(
        opened(settings, rows),
        rows,
        report=score_pairs(rows),
        candidate="v2",
        compared=settings.compare,
        seed=1,
    )
    assert (gate.failed, list(gate.new)) == ([], ["mt-MT"])


def test_several_conditions_are_found_by_how_they_were_decoded(tmp_path: Path) -> None:
    folders = {"test/56-3-offline-locale": [56, 3], "test/56-13-offline-locale": [56, 13]}
    for name, context in folders.items():
        write_baseline(tmp_path / "old" / name, context=context, data="test")
    together = {
        name: json.loads((tmp_path / "old" / name / "metrics.json").read_text(encoding="utf-8"))
        for name in folders
    }
    (tmp_path / "old/metrics.json").write_text(json.dumps({"evaluations": together}), encoding="utf-8")
    assert opened(asked(tmp_path)).rows == ROWS


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ({"context": [56, 13]}, ConfigError, "no scores of test, offline"),
        ({"mode": "streaming"}, ConfigError, "no scores of test, offline"),
        ({"precision": "bf16"}, ConfigError, "no scores of test, offline"),
        ({"normaliser": "0", "keep": False}, ConfigError, "normaliser 0"),
        ({"models": None}, ConfigError, "no model"),
        ({"rows": ROWS[:-1]}, DataError, "utterances"),
        ({"rows": [*ROWS, *made_up_hypotheses(2, noise=0.0, locale="mt-MT")]}, DataError, "mt-MT"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, values: dict[str, Any], kind: type[AsrRayError], says: str
) -> None:
    if values.get("models", 0) is None:
        values = {"models": {"a": {"locales": {}}, "b": {"locales": {}}}}
    write_baseline(tmp_path / "old", **values)
    with pytest.raises(kind, match=says):
        opened(asked(tmp_path))


def test_another_normaliser_is_no_obstacle_where_hypotheses_are_kept(tmp_path: Path) -> None:
    write_baseline(tmp_path / "old", normaliser="0")
    assert opened(asked(tmp_path)).rows == ROWS


def test_rates_alone_must_be_of_the_same_references(tmp_path: Path) -> None:
    write_baseline(tmp_path / "old", keep=False)
    settings = asked(tmp_path)
    rows = [dataclasses.replace(row, ref=f"{row.ref} ακόμα") for row in ROWS]
    assert settings.compare
    with pytest.raises(DataError, match="same version"):
        gate_of(
            opened(settings),
            rows,
            report=score_pairs(rows),
            candidate="v2",
            compared=settings.compare,
            seed=1,
        )


@pytest.mark.parametrize("text", ["", "[]", '{"models": {}}', '{"evaluations": {"a": 3}}'])
def test_a_file_that_holds_no_metrics_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="no metrics"):
        opened(asked(tmp_path))


def test_a_baseline_is_there_and_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        opened(asked(tmp_path))
    write_baseline(tmp_path / "out")
    with pytest.raises(ConfigError, match="written over"):
        opened(asked(tmp_path, baseline=tmp_path / "out/metrics.json"))
    assert opened(asked(tmp_path).model_copy(update={"compare": None})) is None
