"""Kinds of values that several settings share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from asr_ray.locales import DEFAULT_PROMPT_SLOTS, nearest

Share = Annotated[float, Field(ge=0.0, le=1.0)]
PromptMode = Literal["langID", "auto", "unified"]
"""As in `records`, which would bring NumPy along."""


NEW_LOCALES = "new_locales"
"""Key of the validation context: tags that a configuration adds to those of the model."""


def known_tags(added: object) -> dict[str, Any]:
    """Return the validation context in which these tags, a list or the keys of a mapping, are locales too."""
    return {NEW_LOCALES: tuple(map(str, added)) if isinstance(added, Mapping | list | tuple) else ()}


def _known_locale(tag: str, info: ValidationInfo) -> str:
    """Refuse what is no locale.

    Of a file, unknown ones too, with the nearest (it is validated with a context). What was read from a
    file before, and travels as settings or JSON, may hold locales that the file added.
    """
    if tag == "auto":
        raise ValueError("`auto` is a prompt, not a locale; name the language, or set prompt_mode")
    known = {*DEFAULT_PROMPT_SLOTS, *(info.context or {}).get(NEW_LOCALES, ())}
    if info.context is not None and tag not in known:
        guess = nearest(tag, known)
        raise ValueError(f"unknown locale {tag!r}" + (f", did you mean {guess!r}?" if guess else ""))
    return tag


LocaleTag = Annotated[str, AfterValidator(_known_locale)]
"""A locale of the released model, or one that the configuration adds."""

NewTag = Annotated[str, Field(pattern=r"^[a-z]{2,3}-[A-Z]{2}$")]
"""As `<xx-XX>` stands in transcripts."""


def _known_mix_key(name: str, info: ValidationInfo) -> str:
    locale, slash, source = name.partition("/")
    if slash and not source:
        raise ValueError(f"{name!r} names no source; write {locale} or {locale}/SOURCE")
    _known_locale(locale, info)
    return name


MixKey = Annotated[str, AfterValidator(_known_mix_key)]
"""A locale, or one source of it: `el-GR`, `el-GR/radio`."""
