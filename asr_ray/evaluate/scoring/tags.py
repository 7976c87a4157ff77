"""The language a model names at the end of what it writes (`... <el-GR>`), against the language spoken.

Read from raw hypotheses: every normaliser deletes the tag. Tags are only there when they are kept in
decoding, and only tell something when the model was not told the locale.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asr_ray.evaluate.scoring.normalise import language_tags

NO_TAG = ""
"""Stands in the confusion matrix for hypotheses without a tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagScore:
    """Which language was named for which.

    Attributes:
        confusion: spoken locale -> named locale, or `NO_TAG` -> utterances.
    """

    confusion: Mapping[str, Mapping[str, int]]

    @property
    def utterances(self) -> int:
        """All that were scored."""
        return sum(sum(named.values()) for named in self.confusion.values())

    @property
    def accuracy(self) -> float:
        """Share of utterances for which the very locale was named."""
        return sum(named.get(spoken, 0) for spoken, named in self.confusion.items()) / self.utterances

    @property
    def language_accuracy(self) -> float:
        """The same, with regions of one language taken as one (es-ES for es-US)."""
        right = sum(
            count
            for spoken, named in self.confusion.items()
            for tag, count in named.items()
            if _language(tag) == _language(spoken)
        )
        return right / self.utterances

    @property
    def tagged(self) -> float:
        """Share of utterances with a tag."""
        return 1.0 - sum(named.get(NO_TAG, 0) for named in self.confusion.values()) / self.utterances

    def accuracy_of(self, locale: str) -> float:
        """Return the share of utterances of one locale for which it was named."""
        named = self.confusion[locale]
        return named.get(locale, 0) / sum(named.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `metrics.json`."""
        return {
            "accuracy": self.accuracy,
            "language_accuracy": self.language_accuracy,
            "tagged": self.tagged,
            "accuracy_by_locale": {locale: self.accuracy_of(locale) for locale in self.confusion},
            "confusion": {spoken: dict(named) for spoken, named in self.confusion.items()},
        }


def score_tags(pairs: Iterable[tuple[str, str]]) -> TagScore | None:
    """Score the tags in raw hypotheses; None when not one has a tag, because tags were stripped.

    The last tag of a hypothesis counts: the model corrects itself as it hears more.

    Args:
        pairs: (locale spoken, hypothesis).
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for locale, written in pairs:
        counts[locale][(language_tags(written) or (NO_TAG,))[-1]] += 1
    if all(set(named) == {NO_TAG} for named in counts.values()):
        return None
    # The most frequent first: what a locale is taken for stands right after itself.
    confusion = {spoken: dict(counts[spoken].most_common()) for spoken in sorted(counts)}
    return TagScore(confusion=confusion)


def _language(tag: str) -> str:
    return tag.partition("-")[0]
