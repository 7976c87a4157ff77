"""Hypotheses are reused exactly as long as nothing that decides them has changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.results import (
    PARTIAL,
    RESULTS,
    SEAL,
    Decoded,
    PartialResults,
    decoding,
    find_results,
    write_results,
)
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.settings import EvaluateSettings

SETTINGS = EvaluateSettings(models={"base": "tiny"}, data={"test": Path("data")}, out=Path("out"))
CONDITION = Condition(data="test", att_context_size=(56, 3), mode="offline", prompt="locale")
DECODED = decoding(SETTINGS, condition=CONDITION, model_sha256="a", catalog_digest="b")
ROW = Hypothesis(id="1", locale="el-GR", ref="ναι", hyp="ναι", duration_s=1.0)

any_text = st.text(st.characters(exclude_categories=["Cs"]))
a_hypothesis = st.builds(
    Hypothesis,
    id=any_text,
    locale=st.just("el-GR"),
    ref=any_text,
    hyp=any_text,
    duration_s=st.floats(0, 40, allow_nan=False),
)


@given(rows=st.lists(a_hypothesis), decode_s=st.floats(0, 1e6))
def test_whatever_was_written_is_found_again(
    rows: list[Hypothesis], decode_s: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("results")
    result = Decoded(rows=rows, decode_s=decode_s)
    write_results(folder, result, decoded=DECODED)
    assert find_results(folder, decoded=DECODED) == result


@pytest.mark.parametrize(
    "change",
    [
        {"att_context_size": (56, 13)},
        {"mode": "streaming"},
        {"prompt": "auto"},
        {"precision": "bf16"},
        {"keep_tags": True},
    ],
)
def test_another_condition_is_not_taken_for_this_one(tmp_path: Path, change: dict[str, object]) -> None:
    write_results(tmp_path, Decoded(rows=[], decode_s=0.0), decoded=DECODED)
    other = dataclasses.replace(CONDITION, **change)  # type: ignore[arg-type]
    seal = decoding(SETTINGS, condition=other, model_sha256="a", catalog_digest="b")
    assert find_results(tmp_path, decoded=seal) is None
    assert PartialResults(tmp_path, decoded=seal).rows == {}


@pytest.mark.parametrize("change", [{"locales": ["el-GR"]}, {"utterances_per_locale": 3}, {"use_gpu": True}])
def test_another_choice_is_not_taken_for_this_one(tmp_path: Path, change: dict[str, object]) -> None:
    write_results(tmp_path, Decoded(rows=[], decode_s=0.0), decoded=DECODED)
    other = SETTINGS.model_copy(update=change)
    seal = decoding(other, condition=CONDITION, model_sha256="a", catalog_digest="b")
    assert find_results(tmp_path, decoded=seal) is None


@pytest.mark.parametrize(("model", "catalog"), [("x", "b"), ("a", "x")])
def test_other_weights_or_data_are_decoded_anew(tmp_path: Path, model: str, catalog: str) -> None:
    write_results(tmp_path, Decoded(rows=[], decode_s=0.0), decoded=DECODED)
    seal = decoding(SETTINGS, condition=CONDITION, model_sha256=model, catalog_digest=catalog)
    assert find_results(tmp_path, decoded=seal) is None


@pytest.mark.parametrize("damaged", [RESULTS, SEAL])
def test_a_damaged_or_missing_file_is_decoded_anew(tmp_path: Path, damaged: str) -> None:
    write_results(tmp_path, Decoded(rows=[ROW], decode_s=1.0), decoded=DECODED)
    content = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(content[:-5])
    assert find_results(tmp_path, decoded=DECODED) is None
    (tmp_path / damaged).unlink()
    assert find_results(tmp_path, decoded=DECODED) is None


def test_speed_is_audio_over_the_seconds_of_actors() -> None:
    rows = [dataclasses.replace(ROW, id=str(n), duration_s=10.0) for n in range(6)]
    assert Decoded(rows=rows, decode_s=1.5).rtfx == 40.0


@given(rows=st.lists(a_hypothesis, min_size=1, max_size=5), data=st.data())
def test_a_kill_at_any_byte_loses_at_most_the_line_being_written(
    rows: list[Hypothesis], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("partial")
    first = PartialResults(folder, decoded=DECODED)
    whole = [(folder / PARTIAL).stat().st_size]
    for number, row in enumerate(rows):
        first.add([(number, row, 0.5)])
        whole.append((folder / PARTIAL).stat().st_size)
    size = data.draw(st.integers(0, whole[-1]))
    with (folder / PARTIAL).open("r+b") as file:
        file.truncate(size)
    second = PartialResults(folder, decoded=DECODED)
    kept = max(0, sum(end <= size for end in whole) - 1)
    assert second.rows == {number: (row, 0.5) for number, row in enumerate(rows[:kept])}
    # What comes twice is counted once, and the rest comes in behind it.
    second.add((number, row, 0.5) for number, row in enumerate(rows))
    result = second.finish()
    assert result.decode_s == 0.5 * len(rows)
    assert sorted(result.rows, key=repr) == sorted(rows, key=repr)
    assert find_results(folder, decoded=DECODED) == result
    assert not (folder / PARTIAL).exists()
