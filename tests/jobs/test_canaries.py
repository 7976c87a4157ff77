"""What a run may never tell: no transcript and no token is in any file or output of jobs/train.py."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asr_ray.model.tokens import NemoTokenizer
from asr_ray.testing.prepared import noise_utterances, write_prepared_speech

ROOT = Path(__file__).resolve().parents[2]
TEXT = "kanarienvogel"
SECRETS = {
    "HF_TOKEN": "hf_CanaryOfTheHub",
    "WANDB_API_KEY": "CanaryOfTheTracker".ljust(40, "0"),
    "MLFLOW_TRACKING_PASSWORD": "CanaryOfMlflow",
    "AWS_SECRET_ACCESS_KEY": "CanaryOfTheCloud",
}


@pytest.fixture
def ray_logs() -> Iterator[Path]:
    """A folder of Ray's own files with a name so short that its sockets fit."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.ray
def test_neither_texts_nor_secrets_leave_a_run(tmp_path: Path, micro_nemo: Path, ray_logs: Path) -> None:
    pytest.importorskip("wandb")
    tokenizer, key = NemoTokenizer.from_nemo(micro_nemo), ("el-GR", "radio")
    for split, count in (("train", 40), ("validation", 3)):
        said = [replace(utterance, text=TEXT) for utterance in noise_utterances(key, count=count)]
        write_prepared_speech(tmp_path / split, {key: said}, tokenizer=tokenizer)
    run_dir = tmp_path / "run"
    sets = [
        f"run_dir={run_dir}",
        f"model.base={micro_nemo}",
        "model.max_unknown_share=1.0",
        f"data.train={tmp_path / 'train'}",
        f"data.validation={tmp_path / 'validation'}",
        "data.batch_s=4",
        "max_steps=2",
        "optim.warmup_steps=1",
        "validation.targets=[el-GR]",
        "validation.every_steps=1",
        "trackers.wandb={project: canaries}",
        "resources.cpus_per_worker=0.5",
    ]
    command = [
        sys.executable,
        str(ROOT / "jobs/train.py"),
        *(part for each in sets for part in ("--set", each)),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **SECRETS, "WANDB_MODE": "offline", "RAY_TMPDIR": str(ray_logs)},
        cwd=tmp_path,
        capture_output=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    written = [path for folder in (run_dir, ray_logs) for path in folder.rglob("*") if path.is_file()]
    names = {path.name for path in written}
    # The places where one would look for a leak were written at all.
    assert {"metrics.jsonl", "config.yaml", "summary.json", "model.pt", "best.nemo"} <= names
    assert any(name.endswith(".wandb") for name in names)
    assert any(name.startswith("worker-") for name in names)
    canaries = [canary.encode() for canary in (TEXT, *SECRETS.values())]
    found = {
        (str(path), canary)
        for path in written
        for content in [path.read_bytes()]
        for canary in canaries
        if canary in content
    }
    assert not found
    assert not [canary for canary in canaries if canary in done.stdout + done.stderr]
