"""Kinds of values that several settings share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from asr_ray.locales import DEFAULT_PROMPT_SLOTS, nearest

Share = Annotated[float, Field(ge=0.0, le=1.0)]
PromptMode = Literal["langID", "auto", "unified"]
"""As in `records`, which would bring NumPy along."""


def _known_locale(tag: str) -> str:
    if tag == "auto":
        raise ValueError("`auto` is a prompt, not a locale; name the language, or set prompt_mode")
    if tag not in DEFAULT_PROMPT_SLOTS:
        guess = nearest(tag, DEFAULT_PROMPT_SLOTS)
        raise ValueError(f"unknown locale {tag!r}" + (f", did you mean {guess!r}?" if guess else ""))
    return tag


LocaleTag = Annotated[str, AfterValidator(_known_locale)]


def _known_mix_key(name: str) -> str:
    locale, slash, source = name.partition("/")
    if slash and not source:
        raise ValueError(f"{name!r} names no source; write {locale} or {locale}/SOURCE")
    _known_locale(locale)
    return name


MixKey = Annotated[str, AfterValidator(_known_mix_key)]
"""A locale, or one source of it: `el-GR`, `el-GR/radio`."""
