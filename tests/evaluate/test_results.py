"""Hypotheses are reused exactly as long as nothing that decides them has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.evaluate.results import RESULTS, SEAL, decoding, find_results, write_results
from asr_ray.evaluate.score import Hypothesis
from asr_ray.settings import EvaluateSettings

SETTINGS = EvaluateSettings(models={"base": "tiny"}, data=Path("data"), out=Path("out"))
DECODED = decoding(SETTINGS, model_sha256="a", catalog_digest="b")

any_text = st.text(st.characters(exclude_categories=["Cs"]))
hypotheses = st.lists(
    st.builds(
        Hypothesis,
        id=any_text,
        locale=st.just("el-GR"),
        ref=any_text,
        hyp=any_text,
        duration_s=st.floats(0, 40, allow_nan=False),
    )
)


@given(rows=hypotheses)
def test_whatever_was_written_is_found_again(
    rows: list[Hypothesis], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, rows, decoded=DECODED)
    assert find_results(folder, decoded=DECODED) == rows


@pytest.mark.parametrize(
    "change",
    [
        {"att_context_size": (56, 13)},
        {"mode": "streaming"},
        {"prompt": "auto"},
        {"locales": ["el-GR"]},
        {"utterances_per_locale": 3},
        {"use_gpu": True},
    ],
)
def test_another_decoding_is_not_taken_for_this_one(tmp_path: Path, change: dict[str, object]) -> None:
    write_results(tmp_path, [], decoded=DECODED)
    other = SETTINGS.model_copy(update=change)
    assert find_results(tmp_path, decoded=decoding(other, model_sha256="a", catalog_digest="b")) is None


@pytest.mark.parametrize(("model", "catalog"), [("x", "b"), ("a", "x")])
def test_other_weights_or_data_are_decoded_anew(tmp_path: Path, model: str, catalog: str) -> None:
    write_results(tmp_path, [], decoded=DECODED)
    assert (
        find_results(tmp_path, decoded=decoding(SETTINGS, model_sha256=model, catalog_digest=catalog)) is None
    )


@pytest.mark.parametrize("damaged", [RESULTS, SEAL])
def test_a_damaged_or_missing_file_is_decoded_anew(tmp_path: Path, damaged: str) -> None:
    row = Hypothesis(id="1", locale="el-GR", ref="ναι", hyp="ναι", duration_s=1.0)
    write_results(tmp_path, [row], decoded=DECODED)
    content = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(content[:-5])
    assert find_results(tmp_path, decoded=DECODED) is None
    (tmp_path / damaged).unlink()
    assert find_results(tmp_path, decoded=DECODED) is None
