"""Speech is judged before it is prepared and after; nothing is written that training would read."""

from __future__ import annotations

import json
from pathlib import Path

import check_data
import prepare
import pytest
from _cli import run_job

from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import CheckDataSettings, PrepareSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import write_corpus, write_manifest


def run(*arguments: str) -> int:
    return run_job(check_data.__doc__, schema=CheckDataSettings, act=check_data.act, argv=arguments)


def run_prepare(*arguments: str) -> int:
    return run_job(prepare.__doc__, schema=PrepareSettings, act=prepare.act, argv=arguments)


def arguments_for(manifest: Path, out: Path) -> list[str]:
    corpora = f"corpora=[{{path: {manifest}, source: radio}}]"
    return ["--set", corpora, "--set", f"out={out}", "--set", "tokenizer=some.nemo"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = write_corpus(tmp_path, locale="bg-BG", count=4)
    return write_manifest(tmp_path / "m.jsonl", [*rows, rows[0] | {"text": ""}])


@pytest.fixture
def fake_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_ray.model.base.resolve_base", lambda base: Path(str(base)))
    monkeypatch.setattr(NemoTokenizer, "from_nemo", lambda path: FakeTokenizer())


def test_there_must_be_something_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2

    assert "set corpora, or data" in capsys.readouterr().err


def test_a_folder_that_is_not_prepared_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--set", f"data={tmp_path}") == 3

    assert "there is no catalog" in capsys.readouterr().err


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "fake_tokenizer")
def test_too_many_faults_end_with_3_behind_the_table_and_the_report(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments_for(manifest, tmp_path / "out")) == 3

    captured = capsys.readouterr()
    assert "empty-text 1" in captured.out
    assert "! bg-BG: 20.0% of the rows are faulty" in captured.out
    assert "too many rows cannot be used" in captured.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checked"]
    assert (tmp_path / "out" / "checked" / "data_report.html").exists()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "fake_tokenizer")
def test_json_is_what_preparation_will_say(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *arguments_for(manifest, tmp_path / "out"),
        "--set",
        "checks.max_rejected_share=0.5",
        "--json",
    ]

    assert run(*arguments) == 0
    checked = json.loads(capsys.readouterr().out)
    assert run_prepare(*arguments) == 0

    assert checked == json.loads(capsys.readouterr().out)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "fake_tokenizer")
def test_a_prepared_folder_is_judged_against_held_out_speech(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_corpus(tmp_path, locale="bg-BG", count=4)
    others = write_corpus(tmp_path, locale="bg-BG", count=2, seed=7)
    for name, part in (("train", rows), ("leaky", rows[3:]), ("other", others)):
        out = tmp_path / name
        assert run_prepare(*arguments_for(write_manifest(tmp_path / f"{name}.jsonl", part), out)) == 0
    data = ["--set", f"data={tmp_path / 'train'}", "--set"]
    capsys.readouterr()

    assert run(*data, f"held_out=[{tmp_path / 'other'}]") == 0
    assert run(*data, f"held_out=[{tmp_path / 'leaky'}]") == 3

    assert "1 utterance also in the held-out speech" in capsys.readouterr().err
    assert "kept" in (tmp_path / "train" / "data_report.html").read_text()
