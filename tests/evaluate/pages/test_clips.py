"""Speech in a report is what was scored, and never more of it than was asked for."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_ray.data.catalog import Catalog
from asr_ray.evaluate.pages.clips import clips_of
from asr_ray.evaluate.testsets import TestSet
from asr_ray.model.tokens import NemoTokenizer
from asr_ray.testing.prepared import write_prepared


@pytest.fixture
def noise_set(tmp_path: Path, micro_nemo: Path) -> TestSet:
    write_prepared(tmp_path, {("el-GR", "noise"): 6}, tokenizer=NemoTokenizer.from_nemo(micro_nemo))
    catalog = Catalog.read(tmp_path / "catalog.parquet", ids=True)
    columns = catalog.table.select(["id", "locale"]).to_pydict()
    return TestSet(
        root=tmp_path,
        catalog=catalog,
        rows=np.arange(6),
        ids=columns["id"],
        locales=columns["locale"],
    )


def test_clips_are_opus_of_the_right_utterances(noise_set: TestSet) -> None:
    wanted = noise_set.ids[4:2:-1]
    clips = clips_of(wanted, test_set=noise_set, max_bytes=1_000_000)
    assert list(clips) == list(wanted)
    for place, name in zip((4, 3), wanted, strict=True):
        kind, _, content = clips[name].partition(",")
        assert kind == "data:audio/ogg;base64"
        with soundfile.SoundFile(io.BytesIO(base64.b64decode(content))) as file:
            assert (file.format, file.subtype) == ("OGG", "OPUS")
            duration_s = file.frames / file.samplerate
        assert duration_s == pytest.approx(noise_set.durations_s(noise_set.rows)[place], abs=0.05)


def test_the_limit_holds_and_the_first_come_first(noise_set: TestSet) -> None:
    everything = clips_of(noise_set.ids, test_set=noise_set, max_bytes=1_000_000)
    sizes = [len(clip) for clip in everything.values()]
    assert list(clips_of(noise_set.ids, test_set=noise_set, max_bytes=sum(sizes[:3]))) == noise_set.ids[:3]
    assert clips_of(noise_set.ids, test_set=noise_set, max_bytes=sizes[0] - 1) == {}


def test_without_its_audio_a_report_is_silent(noise_set: TestSet) -> None:
    shutil.rmtree(noise_set.root / "shards")
    assert clips_of(noise_set.ids, test_set=noise_set, max_bytes=1_000_000) == {}
