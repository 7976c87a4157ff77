"""Made-up recognition results with a known share of errors, for tests of scoring and reports."""

from __future__ import annotations

import random

from asr_ray.evaluate.scoring.score import Hypothesis

_WORDS = ("ένα", "δύο", "λέξη", "χαρά", "φίλε", "καλή", "αύριο", "τώρα")


def made_up_hypotheses(count: int, *, noise: float, seed: int = 0, locale: str = "el-GR") -> list[Hypothesis]:
    """Return `count` utterances of 1-12 words; the same seed gives the same references.

    Args:
        noise: chance that a word is dropped, doubled or replaced.
    """
    speaker, listener = random.Random(seed), random.Random(f"{seed} {noise}")
    rows = []
    for index in range(count):
        reference = speaker.choices(_WORDS, k=speaker.randint(1, 12))
        written = [word for said in reference for word in _heard(said, noise=noise, listener=listener)]
        rows.append(
            Hypothesis(
                id=f"{locale}-{index:05d}",
                locale=locale,
                ref=" ".join(reference),
                hyp=" ".join(written),
                duration_s=0.4 * len(reference),
            )
        )
    return rows


def _heard(word: str, *, noise: float, listener: random.Random) -> list[str]:
    if listener.random() >= noise:
        return [word]
    return listener.choice([[], [word, word], [listener.choice(_WORDS)]])
