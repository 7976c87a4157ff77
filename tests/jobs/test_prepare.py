"""The command as people and programs meet it: help, refusal, result, exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import prepare
import pytest
from _cli import run_job

from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import PrepareSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import write_corpus, write_manifest

SCRIPT = Path(prepare.__file__)
HEAVY = ("ray", "torch", "nemo", "pyarrow", "numpy")


def run(*arguments: str) -> int:
    return run_job(prepare.__doc__, schema=PrepareSettings, act=prepare.act, argv=arguments)


def arguments_for(manifest: Path, out: Path) -> list[str]:
    corpora = f"corpora=[{{path: {manifest}, source: radio}}]"
    return ["--set", corpora, "--set", f"out={out}", "--set", "tokenizer=some.nemo"]


@pytest.fixture
def fake_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_ray.model.base.resolve_base", lambda base: Path(str(base)))
    monkeypatch.setattr(NemoTokenizer, "from_nemo", lambda path: FakeTokenizer())


def test_help_from_another_folder_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['prepare.py', '--help']; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        f"finally: assert not set({HEAVY!r}) & set(sys.modules), 'heavy'\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout


def test_dry_run_shows_where_each_value_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments_for(tmp_path / "m.jsonl", tmp_path / "out"), "--dry-run") == 0

    shown = capsys.readouterr().out
    assert "utterances_per_shard = 2048" in shown
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_ends_with_2_and_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--set", "checks.max_duration=3") == 2

    assert "max_duration_s" in capsys.readouterr().err


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "fake_tokenizer")
def test_json_holds_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl", write_corpus(tmp_path, locale="bg-BG", count=4))

    assert run(*arguments_for(manifest, tmp_path / "out"), "--json") == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert shown["utterances"] == 4


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "fake_tokenizer")
def test_people_see_a_table_and_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_corpus(tmp_path, locale="bg-BG", count=4)
    manifest = write_manifest(tmp_path / "m.jsonl", [*rows, rows[0] | {"text": ""}])

    assert run(*arguments_for(manifest, tmp_path / "out"), "--set", "checks.max_rejected_share=0.5") == 0

    shown = capsys.readouterr().out
    assert "bg-BG" in shown
    assert "empty-text 1" in shown
    assert "jobs/train.py" in shown


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "fake_tokenizer")
def test_too_many_bad_rows_end_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl", [b"{", *write_corpus(tmp_path, locale="bg-BG", count=4)])

    assert run(*arguments_for(manifest, tmp_path / "out")) == 3

    message = capsys.readouterr().err
    assert "bad-json 1" in message
    assert "fix: " in message
