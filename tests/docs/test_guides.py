"""What tutorial and guides tell the reader to write and to type: it loads, and it is there."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from asr_ray.config import Settings, load
from asr_ray.errors import ConfigError
from asr_ray.settings import (
    CheckDataSettings,
    DemoSettings,
    DoctorSettings,
    EvaluateSettings,
    ExportSettings,
    PrepareSettings,
    TrainSettings,
)

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)
SCHEMAS: dict[str, type[Settings]] = {
    "runs": TrainSettings,
    "corpora": PrepareSettings,
    "evaluation": EvaluateSettings,
}
OF_JOB: dict[str, type[Settings]] = {
    "check_data": CheckDataSettings,
    "demo": DemoSettings,
    "doctor": DoctorSettings,
    "evaluate": EvaluateSettings,
    "export": ExportSettings,
    "plan": TrainSettings,
    "prepare": PrepareSettings,
    "train": TrainSettings,
}


@dataclass(frozen=True)
class Snippet:
    """A fenced block of a page."""

    page: Path
    language: str
    title: str
    text: str


def snippets(page: Path) -> list[Snippet]:
    return [Snippet(page, *match.groups(default="")) for match in FENCE.finditer(page.read_text("utf-8"))]


SNIPPETS = [snippet for page in PAGES for snippet in snippets(page)]
CONFIGS = [snippet for snippet in SNIPPETS if snippet.language == "yaml"]


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configurations of the checkout, and those that the guides tell the reader to write."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "configs", root / "configs")
    for snippet in CONFIGS:
        (root / snippet.title).write_text(snippet.text, encoding="utf-8")
    return root


def test_every_goal_has_a_guide_with_a_corpus_and_a_run() -> None:
    folders = {page.stem: {Path(s.title).parts[1] for s in CONFIGS if s.page == page} for page in PAGES[1:]}
    goals = ("accent", "domain", "new-language", "scarce-locale")
    assert folders == {goal: {"corpora", "runs"} for goal in goals}


@pytest.mark.parametrize("snippet", CONFIGS, ids=lambda snippet: snippet.title)
def test_a_configuration_loads(snippet: Snippet, configs: Path) -> None:
    assert snippet.title.startswith("configs/")
    load(configs / snippet.title, schema=SCHEMAS[Path(snippet.title).parts[1]])


def test_a_wrong_key_would_be_seen(configs: Path) -> None:
    file = configs / "configs/runs/wrong.yaml"
    file.write_text("base: ../train.yaml\noptim: {peek_lr: 1}\n")
    with pytest.raises(ConfigError, match="peek_lr"):
        load(file, schema=TrainSettings)


def commands() -> Iterator[tuple[Path, list[str]]]:
    for snippet in SNIPPETS:
        if snippet.language == "bash":
            for line in snippet.text.replace("\\\n", " ").splitlines():
                if line.startswith("python "):
                    yield snippet.page, shlex.split(line)


@pytest.mark.parametrize(("page", "command"), list(commands()), ids=lambda value: getattr(value, "stem", ""))
def test_a_command_would_be_accepted(
    page: Path, command: list[str], configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, *arguments = command
    if first == "-m":
        assert (ROOT / (arguments[0].replace(".", "/") + ".py")).is_file()
        return
    assert (ROOT / first).is_file()
    monkeypatch.chdir(configs)
    sets = [value for flag, value in itertools.pairwise(arguments) if flag == "--set"]
    files = [value for flag, value in itertools.pairwise(arguments) if flag == "--config"]
    load(Path(files[0]) if files else None, schema=OF_JOB[Path(first).stem], sets=sets)


@pytest.mark.slow
@pytest.mark.ray
def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in ("asr_ray", "jobs", "configs"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
    }
    for page, command in commands():
        if page.stem == "tutorial":
            done = subprocess.run(
                command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    card = (checkout / "runs/tutorial/export/greek-tiny.md").read_text()
    assert "| el-GR | WER | 40 |" in card
