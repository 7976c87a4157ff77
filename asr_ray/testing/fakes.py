"""Stand-ins for what is slow or large, with the same interface."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FakeTokenizer:
    """One token per character of an alphabet; every other character is unknown (id 0).

    Attributes:
        alphabet: characters it knows; None knows every one.
    """

    alphabet: str | None = None

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, the unknown one included."""
        return 1 + (0x10FFFF if self.alphabet is None else len(self.alphabet))

    @property
    def unknown_id(self) -> int:
        """Id of characters outside the alphabet."""
        return 0

    @property
    def digest(self) -> str:
        """Hash of the alphabet."""
        return hashlib.sha256(repr(self.alphabet).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return one id per character."""
        if self.alphabet is None:
            return [ord(character) for character in text]
        return [self.alphabet.find(character) + 1 for character in text]
