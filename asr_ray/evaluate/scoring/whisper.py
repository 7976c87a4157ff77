"""The English normaliser of Whisper, which published leaderboards build on; slow, hence remembered."""

from __future__ import annotations

import functools
from collections.abc import Callable


@functools.lru_cache(maxsize=65_536)
def english(text: str) -> str:
    """Return English text with contractions opened, number words as digits and American spelling.

    Text in brackets is deleted.
    """
    return _normaliser()(text).strip()


@functools.cache
def _normaliser() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()  # type: ignore[no-any-return]
