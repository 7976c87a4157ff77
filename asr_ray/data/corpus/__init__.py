"""Readers of corpus formats: a new one is a module beside these and one line in `READERS`."""

from __future__ import annotations

from asr_ray.data.corpus import nemo_manifest
from asr_ray.data.corpus.span import Place, Reader, Row, Span

READERS: dict[str, Reader] = {"nemo": nemo_manifest}
"""`CorpusSettings.format` -> reader."""

__all__ = ["READERS", "Place", "Reader", "Row", "Span"]
