"""Stock manifests are scored whole: nothing is put aside in silence, not even silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from asr_ray.data.audio import encode_flac
from asr_ray.data.read import read_utterances
from asr_ray.errors import ConfigError, DataError
from asr_ray.evaluate.testsets import open_test_sets
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.settings import EvaluateSettings
from asr_ray.testing.noise import noise

ROWS = [
    {"id": "long", "text": "καλημέρα", "lang": "el", "duration": 2.0},
    {"id": "silent", "text": "", "lang": "el-GR", "duration": 1.0},
    {"id": "latin", "text": "OK", "lang": "el-GR", "duration": 0.5},
    {"id": "same", "text": "πολλά λόγια σε λίγο χρόνο, πάρα πολλά λόγια", "lang": "el-GR", "duration": 0.5},
]


def write_manifest(folder: Path, rows: list[dict[str, object]]) -> Path:
    for row in rows:
        num_samples = int(16_000 * float(str(row["duration"])))
        samples = noise(num_samples / 16_000, seed=(len(str(row["id"])),))
        if row["id"] == "silent":
            samples = np.zeros(num_samples, dtype=np.int16)
        (folder / f"{row['id']}.flac").write_bytes(encode_flac(samples))
        row["audio_filepath"] = f"{row['id']}.flac"
    path = folder / "stock.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings_of(data: object, *, out: Path) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"models": {"base": "tiny"}, "data": data, "out": out})


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_manifest_becomes_a_test_set_of_all_its_rows(tmp_path: Path, micro_nemo: Path) -> None:
    manifest = write_manifest(tmp_path, [dict(row) for row in ROWS])
    settings = settings_of(str(manifest), out=tmp_path / "out")
    opened = open_test_sets(
        settings, tokenizer=lambda: NemoTokenizer.from_nemo(micro_nemo), progress=lambda *_: None
    )
    assert list(opened) == ["stock"]
    test_set = opened["stock"]
    utterances = read_utterances(test_set.root, test_set.addresses(test_set.rows.tolist()))
    assert {u.id: (u.text, u.locale) for u in utterances} == {
        str(row["id"]): (row["text"], "el-GR") for row in ROWS
    }
    assert test_set.audio_s == pytest.approx(4.0)

    # A row that cannot be decoded is no reason to score the others alone.
    (tmp_path / "latin.flac").write_bytes(b"no audio")
    again = settings_of({"x": str(manifest)}, out=tmp_path / "again")
    with pytest.raises(DataError, match="el-GR"):
        open_test_sets(again, tokenizer=lambda: NemoTokenizer.from_nemo(micro_nemo), progress=lambda *_: None)


@pytest.mark.parametrize("data", ["no/such/folder", "no/such/model.nemo"])
def test_what_is_neither_folder_nor_manifest_is_refused(tmp_path: Path, data: str) -> None:
    def refuse() -> NemoTokenizer:
        raise AssertionError("nothing to prepare")

    with pytest.raises(ConfigError, match=data):
        open_test_sets(settings_of(data, out=tmp_path), tokenizer=refuse, progress=lambda *_: None)
