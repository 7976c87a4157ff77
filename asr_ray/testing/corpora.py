"""The same clips of noise in every corpus format, each written by the library that the format is of."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from asr_ray.data.audio import encode_flac
from asr_ray.records import SAMPLE_RATE
from asr_ray.settings import CorpusSettings
from asr_ray.testing.noise import noise

if TYPE_CHECKING:
    from lhotse import MonoCut


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One utterance to be written.

    Attributes:
        samples: int16 [N] or [N, channels] at 16 kHz.
    """

    name: str
    samples: npt.NDArray[np.int16]
    text: str
    speaker: str
    locale: str = "el-GR"

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / SAMPLE_RATE

    def encoded(self, *, format: str = "FLAC", subtype: str | None = None) -> bytes:
        """Return the audio as a file of one of libsndfile's formats."""
        target = io.BytesIO()
        soundfile.write(target, self.samples, SAMPLE_RATE, format=format, subtype=subtype)
        return target.getvalue()


def clips(count: int, *, prefix: str = "clip", locale: str = "el-GR") -> list[Clip]:
    """Return clips of half a second to one second."""
    durations_s = np.random.default_rng([*prefix.encode()]).uniform(0.5, 1.0, size=count)
    return [
        Clip(
            name=f"{prefix}{index}",
            samples=noise(duration_s, seed=(*prefix.encode(), index)),
            text=f"Καλημέρα, αριθμός {index}.",
            speaker=f"speaker{index % 2}",
            locale=locale,
        )
        for index, duration_s in enumerate(durations_s)
    ]


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """Write an uncompressed tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_nemo_tarred(folder: Path, spoken: Sequence[Clip], *, num_shards: int = 2) -> CorpusSettings:
    """Write a manifest and a tar per shard."""
    for shard in range(num_shards):
        mine = spoken[shard::num_shards]
        write_tar(folder / f"audio_{shard}.tar", {f"{clip.name}.flac": clip.encoded() for clip in mine})
        lines = [json.dumps(tarred_row(clip, shard=shard)) + "\n" for clip in mine]
        (folder / f"manifest_{shard}.json").write_text("".join(lines), encoding="utf-8")
    last = num_shards - 1
    return CorpusSettings(
        path=str(folder / f"manifest__OP_0..{last}_CL_.json"),
        tars=str(folder / f"audio__OP_0..{last}_CL_.tar"),
        source="tarred",
        format="nemo_tarred",
    )


def tarred_row(clip: Clip, *, shard: int) -> dict[str, object]:
    """Return the manifest row of a clip in a tar."""
    return {
        "audio_filepath": f"{clip.name}.flac",
        "duration": clip.duration_s,
        "text": clip.text,
        "target_lang": clip.locale,
        "speaker": clip.speaker,
        "shard_id": shard,
    }


def write_lhotse(folder: Path, spoken: Sequence[Clip], *, name: str = "cuts.jsonl.gz") -> CorpusSettings:
    """Write one FLAC file per clip and a CutSet that names them relative to itself."""
    from lhotse import CutSet

    cuts = [_cut(clip, folder=folder) for clip in spoken]
    for cut in cuts:
        cut.recording.sources[0].source = f"{cut.recording_id}.flac"
    CutSet.from_cuts(cuts).to_file(folder / name)
    return CorpusSettings(path=str(folder / name), source="lhotse", format="lhotse")


def write_shar(folder: Path, spoken: Sequence[Clip], *, shard_size: int = 3) -> CorpusSettings:
    """Write Shar of FLAC audio."""
    from lhotse.shar import SharWriter

    target = folder / "shar"
    target.mkdir(parents=True)
    with SharWriter(target, fields={"recording": "flac"}, shard_size=shard_size) as writer:
        for clip in spoken:
            writer.write(_cut(clip, folder=folder))
    return CorpusSettings(path=str(target), source="shar", format="lhotse_shar")


def _cut(clip: Clip, *, folder: Path) -> MonoCut:
    from lhotse import Recording, SupervisionSegment

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{clip.name}.flac"
    path.write_bytes(clip.encoded())
    cut = Recording.from_file(path).to_cut()
    said = SupervisionSegment(
        id=f"said-{clip.name}",
        recording_id=cut.recording_id,
        start=0,
        duration=cut.duration,
        text=clip.text,
        language="Greek",
        speaker=clip.speaker,
        custom={"target_lang": clip.locale},
    )
    cut.supervisions = [said]
    return cut


def write_hf_parquet(folder: Path, spoken: Sequence[Clip], *, rows_per_group: int = 2) -> CorpusSettings:
    """Write one Parquet file without durations."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "audio": {"bytes": clip.encoded(), "path": f"{clip.name}.flac"},
            "sentence": clip.text,
            "locale": clip.locale,
            "client_id": clip.speaker,
        }
        for clip in spoken
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-0.parquet", row_group_size=rows_per_group)
    return CorpusSettings(path=str(folder), source="parquet", format="hf_parquet")


def write_common_voice(folder: Path, spoken: Sequence[Clip]) -> CorpusSettings:
    """Write a release folder with MP3 files; the locale is in Common Voice's short form."""
    (folder / "clips").mkdir(parents=True)
    header = ["client_id", "path", "sentence", "up_votes", "locale"]
    rows = [[clip.speaker, f"{clip.name}.mp3", clip.text, "2", clip.locale.split("-")[0]] for clip in spoken]
    _write_tsv(folder / "train.tsv", [header, *rows])
    for clip in spoken:
        (folder / "clips" / f"{clip.name}.mp3").write_bytes(clip.encoded(format="MP3"))
    return CorpusSettings(path=str(folder), source="voice", format="common_voice")


def write_fleurs(folder: Path, spoken: Sequence[Clip]) -> CorpusSettings:
    """Write the folder of a language, `el_gr`; all clips are the same sentence to FLEURS."""
    language = folder / spoken[0].locale.replace("-", "_").lower()
    (language / "audio" / "train").mkdir(parents=True)
    rows = [
        ["7", f"{clip.name}.wav", clip.text, clip.text.lower(), "κ | α |", str(len(clip.samples)), "FEMALE"]
        for clip in spoken
    ]
    _write_tsv(language / "train.tsv", rows)
    for clip in spoken:
        (language / "audio" / "train" / f"{clip.name}.wav").write_bytes(clip.encoded(format="WAV"))
    return CorpusSettings(path=str(folder), source="fleurs", format="fleurs")


def _write_tsv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n").writerows(rows)


def write_nemo(folder: Path, spoken: Sequence[Clip]) -> CorpusSettings:
    """Write a manifest and one FLAC file per clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in spoken:
        (folder / f"{clip.name}.flac").write_bytes(encode_flac(clip.samples))
    lines = [json.dumps(tarred_row(clip, shard=0)) + "\n" for clip in spoken]
    (folder / "m.jsonl").write_text("".join(lines), encoding="utf-8")
    return CorpusSettings(path=str(folder / "m.jsonl"), source="nemo")


WRITERS: Mapping[str, Callable[[Path, Sequence[Clip]], CorpusSettings]] = {
    "nemo": write_nemo,
    "nemo_tarred": write_nemo_tarred,
    "lhotse": write_lhotse,
    "lhotse_shar": write_shar,
    "hf_parquet": write_hf_parquet,
    "common_voice": write_common_voice,
    "fleurs": write_fleurs,
}
"""`CorpusSettings.format` -> what writes a corpus of it into a folder and returns its settings."""
