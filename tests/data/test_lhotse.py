"""Supervisions of cuts become utterances; nothing in a manifest is executed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_ray.data.audio import decode_pcm16, read_header
from asr_ray.data.corpus import READERS, Row
from asr_ray.errors import DataError
from asr_ray.records import Reason, Rejected, Utterance
from asr_ray.settings import CorpusSettings
from asr_ray.testing.corpora import clips, write_lhotse, write_shar
from asr_ray.testing.noise import noise

lhotse = pytest.importorskip("lhotse")


def read_all(corpus: CorpusSettings, *, rows_per_span: int = 2) -> list[Row]:
    reader = READERS[corpus.format]
    return [
        row
        for file in reader.files(corpus)
        for span in reader.split(file, rows_per_span=rows_per_span)
        for row in reader.read(span, corpus=corpus)
    ]


def write_lines(folder: Path, lines: list[dict[str, Any] | bytes]) -> CorpusSettings:
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    (folder / "cuts.jsonl").write_bytes(b"".join(line + b"\n" for line in encoded))
    return CorpusSettings(path=str(folder / "cuts.jsonl"), source="s", format="lhotse")


def line_of(folder: Path) -> dict[str, Any]:
    """One line as Lhotse writes it."""
    write_lhotse(folder, clips(1), name="one.jsonl")
    line: dict[str, Any] = json.loads((folder / "one.jsonl").read_text())
    return line


@pytest.fixture
def long_cut(tmp_path: Path) -> Any:
    """A cut of seconds 1 to 4 of a recording of five, with two supervisions."""
    soundfile.write(tmp_path / "long.wav", noise(5.0), 16_000)
    cut = lhotse.Recording.from_file(tmp_path / "long.wav").to_cut()
    said = [
        lhotse.SupervisionSegment(
            id=f"s{number}", recording_id=cut.recording_id, start=start, duration=1.0, text=f"Ναι {number}."
        )
        for number, start in enumerate((0.25, 2.0))
    ]
    cut = cut.truncate(offset=1.0, duration=3.0)
    cut.supervisions = said
    cut.custom = {"lang": "el-GR"}
    return cut


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_supervisions_are_cut_relative_to_their_cut(long_cut: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cuts{suffix}"
    lhotse.CutSet.from_cuts([long_cut]).to_file(path)
    corpus = CorpusSettings(path=str(path), source="s", format="lhotse")

    rows = read_all(corpus)

    contents = [row.content for row in rows]
    assert [(row.line, row.part) for row in rows] == [(1, 0), (1, 1)]
    for content, start in zip(contents, (20_000, 48_000), strict=True):
        assert isinstance(content, Utterance)
        assert content.locale == "el-GR"
        assert np.array_equal(decode_pcm16(content.audio), noise(5.0)[start : start + 16_000])
    for row in rows:
        assert list(READERS["lhotse"].read(row.span, corpus=corpus, wanted={row.place})) == [row]


def test_a_whole_recording_keeps_its_bytes(tmp_path: Path) -> None:
    corpus = write_lhotse(tmp_path, clips(2))

    for row in read_all(corpus):
        assert isinstance(row.content, Utterance)
        assert row.content.audio == (tmp_path / f"{row.content.id}.flac").read_bytes()


def test_transforms_are_applied(tmp_path: Path) -> None:
    write_lhotse(tmp_path, clips(1))
    slow = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl.gz").to_eager().perturb_speed(0.5)
    slow.to_file(tmp_path / "slow.jsonl")

    (row,) = read_all(CorpusSettings(path=str(tmp_path / "slow.jsonl"), source="s", format="lhotse"))

    assert isinstance(row.content, Utterance)
    assert read_header(row.content.audio).duration_s == pytest.approx(2 * clips(1)[0].duration_s, abs=1e-3)


def command(line: dict[str, Any], marker: Path) -> list[dict[str, Any]]:
    """The line with a command at every place where Lhotse would accept one."""
    source = {"type": "command", "channels": [0], "source": f"touch {marker}"}
    recording = line["recording"]
    rir = {"name": "ReverbWithImpulseResponse", "kwargs": {"rir": recording}}
    return [
        line | {"recording": recording | {"sources": [source]}},
        line | {"recording": recording | {"sources": [*recording["sources"], source]}},
        line | {"custom": {"target_recording": recording | {"sources": [source]}}},
        line | {"recording": recording | {"transforms": [rir]}},
        line
        | {
            "recording": recording
            | {"sources": [source | {"type": "file", "source": f"pipe:touch {marker}"}]}
        },
        line | {"features": {"storage_type": "lilcom_url", "storage_path": f"pipe:touch {marker}"}},
    ]


def test_nothing_is_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    lines = command(line_of(tmp_path), marker)

    contents = [row.content for row in read_all(write_lines(tmp_path, [*lines]))]

    assert [each.reason for each in contents if isinstance(each, Rejected)] == [Reason.UNSAFE_SOURCE] * 6
    assert not marker.exists()


def test_bad_cuts_are_rejected_one_by_one(tmp_path: Path) -> None:
    good = line_of(tmp_path)
    said = good["supervisions"][0]
    elsewhere = good["recording"] | {"sources": [{"type": "file", "channels": [0], "source": "absent.flac"}]}
    memory = good["recording"] | {"sources": [{"type": "memory", "channels": [0], "source": "text"}]}
    lines: dict[Reason, list[dict[str, Any] | bytes]] = {
        Reason.BAD_JSON: [b'{"id": "a", "supervi', b"[]"],
        Reason.MISSING_FIELD: [
            good | {"supervisions": []},
            good | {"supervisions": [{key: value for key, value in said.items() if key != "text"}]},
            good | {"supervisions": [{key: value for key, value in said.items() if key != "start"}]},
        ],
        Reason.MISSING_AUDIO: [
            good | {"recording": elsewhere},
            good | {"recording": memory},
            good | {"recording": None},
            good | {"type": "MixedCut"},
            good | {"recording": good["recording"] | {"sources": []}},
        ],
        Reason.DURATION_RANGE: [good | {"supervisions": [said | {"duration": 60.0}]}],
    }

    rows = read_all(write_lines(tmp_path, [good, *(line for each in lines.values() for line in each)]))

    expected = [reason for reason, each in lines.items() for _ in each]
    assert isinstance(rows[0].content, Utterance)
    assert [row.content.reason for row in rows[1:] if isinstance(row.content, Rejected)] == expected


def test_the_locale_comes_from_the_explicit_field_before_the_language(tmp_path: Path) -> None:
    good = line_of(tmp_path)
    (said,) = good["supervisions"]

    def locale(own: dict[str, str], of_cut: dict[str, str], language: str | None) -> str:
        line = good | {"supervisions": [said | {"custom": own, "language": language}], "custom": of_cut}
        return read_all(write_lines(tmp_path, [line]))[0].content.locale

    assert locale({"target_lang": "bg-BG"}, {"target_lang": "en-US"}, "el") == "bg-BG"
    assert locale({}, {"target_lang": "en-US"}, "el") == "en-US"
    assert locale({"lang": "bg-BG"}, {}, "el") == "el"
    assert locale({}, {"locale": "bg-BG"}, None) == "bg-BG"


def test_a_damaged_compressed_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    corpus = write_lhotse(tmp_path, clips(3))
    path = Path(corpus.path)
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(DataError, match=r"cuts\.jsonl\.gz: cannot be unpacked"):
        read_all(corpus)


def test_shar_rejects_cuts_without_audio_and_reads_no_metadata(tmp_path: Path) -> None:
    corpus = write_shar(tmp_path, clips(3), shard_size=10)
    cuts = next((tmp_path / "shar").glob("cuts*.gz"))
    lines = [json.loads(line) for line in gzip.decompress(cuts.read_bytes()).splitlines()]
    lines[1]["id"] = "another"
    lines[2]["recording"]["sources"][0] = {"type": "command", "channels": [0], "source": "true"}
    cuts.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))

    first, second, third = (row.content for row in read_all(corpus))

    assert isinstance(first, Utterance)
    assert isinstance(second, Rejected)
    assert isinstance(third, Rejected)
    assert (second.reason, third.reason) == (Reason.MISSING_AUDIO, Reason.UNSAFE_SOURCE)
