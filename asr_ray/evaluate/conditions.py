"""Under which conditions models are scored: every combination of test set, context, mode and prompt.

OUT/<model>/..., OUT/metrics.json, OUT/report.html                 where there is one combination
OUT/<data>/<left>-<right>-<mode>-<prompt>/<model>/..., and so on   where there are several, each whole
OUT/metrics.json                                                   then holds all of them, by folder
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path

from asr_ray.contexts import AttContextSize, chunk_ms
from asr_ray.settings import EvaluateSettings
from asr_ray.settings.evaluate import DecodeMode, Precision, PromptChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One way in which every model is decoded.

    Attributes:
        data: name of the test set.
        mode: whole utterances under the chunk mask, or true streaming.
        prompt: whether the model was told the locale.
        keep_tags: whether hypotheses hold the language tags that the model writes.
    """

    data: str
    att_context_size: AttContextSize
    mode: DecodeMode
    prompt: PromptChoice
    precision: Precision = "fp32"
    keep_tags: bool = False

    @property
    def name(self) -> str:
        """Folder of the condition below `out`: `test/56-3-offline-locale`."""
        left, right = self.att_context_size
        return f"{self.data}/{left}-{right}-{self.mode}-{self.prompt}"

    @property
    def series(self) -> Condition:
        """The same without its context: conditions of one series differ in latency alone."""
        return dataclasses.replace(self, att_context_size=(0, 0))

    @property
    def prompt_in_words(self) -> str:
        """Whether the model was told the language."""
        return "language told" if self.prompt == "locale" else "language found by the model"

    @property
    def in_words(self) -> str:
        """What a score must say about itself."""
        left, right = self.att_context_size
        return (
            f"{self.mode}, context [{left}, {right}]: chunks of {chunk_ms(self.att_context_size)} ms, "
            f"{self.precision}"
        )


def conditions_of(settings: EvaluateSettings) -> dict[Condition, Path]:
    """Return the conditions in the order of the settings, each with its folder."""
    found = [
        Condition(
            data=data,
            att_context_size=context,
            mode=mode,
            prompt=prompt,
            precision=settings.precision,
            keep_tags=settings.tags == "keep",
        )
        for data, context, mode, prompt in itertools.product(
            settings.data, settings.att_context_size, settings.mode, settings.prompt
        )
    ]
    if len(found) == 1:
        return {found[0]: settings.out}
    return {condition: settings.out / condition.name for condition in found}
