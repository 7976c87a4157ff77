"""Text to token ids as the model does it, without the model.

The tokenizer of a checkpoint is a SentencePiece file inside its archive. Reading just that file keeps
NeMo, its 15 s of imports and its weights out of the data workers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asr_ray.model.nemo_file import inspect_nemo

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

# Three-letter languages too (`<haw-US>`, `<nah-MX>`), which NeMo's own pattern leaves in the text.
_TAG = re.compile(r"\s*<[a-z]{2,3}-[A-Z]{2}>")


@dataclass(frozen=True)
class NemoTokenizer:
    """The SentencePiece tokenizer of a checkpoint; a `records.Tokenizer`.

    Pickles as the bytes of its file: the processor is built again on first use in each process.
    """

    model: bytes

    @classmethod
    def from_nemo(cls, path: Path) -> NemoTokenizer:
        """Read the tokenizer out of a `.nemo` archive.

        Raises:
            ConfigError, DataError: as `nemo_file.inspect_nemo`.
        """
        archive = inspect_nemo(path)
        return cls(archive.read(archive.tokenizer_member))

    def __getstate__(self) -> dict[str, bytes]:
        return {"model": self.model}

    @cached_property
    def _processor(self) -> SentencePieceProcessor:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self.model)

    @property
    def vocabulary_size(self) -> int:
        """Number of pieces; the blank of the transducer is this id."""
        return int(self._processor.get_piece_size())

    @property
    def unknown_id(self) -> int:
        """Id of the piece that stands for characters outside the vocabulary."""
        return int(self._processor.unk_id())

    @cached_property
    def digest(self) -> str:
        """sha256 of the SentencePiece file."""
        return hashlib.sha256(self.model).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, equal to the model's own `tokenizer.text_to_ids`."""
        return list(self._processor.encode(text))

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids; the unknown piece reads ` ⁇ `."""
        return str(self._processor.decode(list(token_ids)))


def strip_tags(text: str) -> str:
    """Remove every language tag (`<el-GR>`) with the blanks before it; text without one is untouched."""
    return _TAG.sub("", text).strip() if _TAG.search(text) else text
