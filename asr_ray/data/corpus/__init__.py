"""Readers of corpus formats: a new one is a module beside these and one line in `READERS`."""

from __future__ import annotations

from asr_ray.data.corpus import (
    common_voice,
    fleurs,
    hf_parquet,
    lhotse_cuts,
    lhotse_shar,
    nemo_manifest,
    nemo_tarred,
)
from asr_ray.data.corpus.span import Place, Reader, Row, Span

READERS: dict[str, Reader] = {
    "nemo": nemo_manifest,
    "nemo_tarred": nemo_tarred,
    "lhotse": lhotse_cuts,
    "lhotse_shar": lhotse_shar,
    "hf_parquet": hf_parquet,
    "common_voice": common_voice,
    "fleurs": fleurs,
}
"""`CorpusSettings.format` -> reader."""

__all__ = ["READERS", "Place", "Reader", "Row", "Span"]
