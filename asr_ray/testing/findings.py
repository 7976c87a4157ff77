"""Findings without a corpus, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from asr_ray.data.checks.findings import Findings, findings_of
from asr_ray.data.checks.fingerprints import HeldOut
from asr_ray.data.mix import Key
from asr_ray.records import Reason, Rejected
from asr_ray.settings import CheckSettings, CorpusSettings, PrepareSettings


def rejected_row(
    reason: Reason = Reason.TRUNCATED, *, locale: str = "el-GR", line: int = 1, detail: str = "half a file"
) -> Rejected:
    """Return a row of the source `radio` that was put aside."""
    return Rejected(origin=f"m.jsonl:{line}", reason=reason, detail=detail, locale=locale, source="radio")


def findings_with(
    counts: Mapping[Key, int],
    *,
    rejected: Sequence[Rejected] = (),
    held_out: Sequence[int] | None = None,
    duration_s: float = 4.0,
    characters: int = 60,
    tokens: int = 15,
    texts: int = 10**6,
    audios: int = 10**6,
    source: str = "radio",
    **checks: object,
) -> Findings:
    """Return findings about utterances of equal length.

    Args:
        counts: utterances of each (locale, source).
        rejected: rows put aside.
        held_out: hashes of held-out audio (row numbers); None names no held-out folder.
        duration_s, characters, tokens: of each utterance.
        texts, audios: so many different ones there are.
        source: name of the only corpus in the settings.
        checks: of `CheckSettings`.
    """
    keys = [key for key, count in counts.items() for _ in range(count)]
    rows = np.arange(len(keys))
    accepted = pa.table(
        {
            "locale": pa.array([key[0] for key in keys], pa.string()),
            "source": pa.array([key[1] for key in keys], pa.string()),
            "duration_s": pa.array([duration_s] * len(keys), pa.float64()),
            "num_tokens": pa.array([tokens] * len(keys), pa.int32()),
            "num_characters": pa.array([characters] * len(keys), pa.int32()),
            "speaker": pa.array(rows % 3, pa.uint64()),
            "audio_hash": pa.array(rows % audios, pa.uint64()),
            "text_hash": pa.array(rows % texts, pa.uint64()),
        }
    )
    settings = PrepareSettings(
        corpora=[CorpusSettings(path="m.jsonl", source=source)],
        out=Path("data"),
        held_out=[] if held_out is None else [Path("test")],
        checks=CheckSettings.model_validate(checks),
    )
    audio = np.array(sorted(held_out or ()), np.uint64)
    return findings_of(
        accepted,
        rejected=rejected,
        settings=settings,
        held_out=HeldOut(audio, np.array([], np.uint64)),
        out=settings.out,
        quarantine=settings.out / "quarantine.parquet",
        tokenizer_digest="abc",
        inputs_digest="def",
        texts_of=lambda shown: [f"sentence {n}" for n in range(shown.num_rows)],
    )
