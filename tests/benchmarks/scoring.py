"""How long scoring takes: two systems, all views, intervals and paired tests.

    python -m tests.benchmarks.scoring --utterances 10000 --replications 1000

Prints one JSON line. Sentences are of real length (about 20 words), with numbers, case and punctuation.
"""

from __future__ import annotations

import argparse
import json
import random
import time

from asr_ray.evaluate.scoring.paired import compare
from asr_ray.evaluate.scoring.score import Hypothesis, score_pairs

LOCALES = ("de-DE", "el-GR", "en-US", "hi-IN", "ja-JP")

WORDS = {
    "de-DE": "Die Straße führt, über 1976 Brücken zum Fluss. und nach Süden; dort: wohnen 10.000 Leute!",
    "el-GR": "Ο δρόμος περνά, από 1976 γέφυρες ως τη θάλασσα. και μετά στο νησί; όπου ζουν 10.000 άνθρωποι!",
    "en-US": "The road doesn't cross, in 1976 the bridges. it's further south; where 10,000 people live!",
    "hi-IN": "यह सड़क 1976 पुलों से होकर जाती है। और फिर दक्षिण की ओर, जहाँ 10,000 लोग रहते हैं!",
    "ja-JP": "この道は 1976年に 作られた、 橋を 渡って 南へ 続く。 そこには 10,000人が 住んで います。",
}


def hypotheses(count: int, *, noise: float) -> list[Hypothesis]:
    """Return `count` utterances over all locales; the same references whatever the noise."""
    speaker, listener = random.Random(1), random.Random(noise)
    rows = []
    for index in range(count):
        locale = LOCALES[index % len(LOCALES)]
        words = WORDS[locale].split()
        said = speaker.choices(words, k=speaker.randint(8, 32))
        wrote = [listener.choice(words) if listener.random() < noise else word for word in said]
        rows.append(
            Hypothesis(
                id=f"{index:06d}",
                locale=locale,
                ref=" ".join(said),
                hyp=" ".join(wrote),
                duration_s=0.4 * len(said),
                speaker=f"{speaker.randrange(200)}",
            )
        )
    return rows


def main() -> None:
    """Time scoring and comparing, each once, with cold caches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--replications", type=int, default=1_000)
    arguments = parser.parse_args()
    base, tuned = (hypotheses(arguments.utterances, noise=noise) for noise in (0.2, 0.15))
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for rows in (base, tuned):
        score_pairs(rows, replications=arguments.replications)
    scored = time.perf_counter()
    compare(base, tuned)
    print(
        json.dumps(
            {
                "utterances": arguments.utterances,
                "replications": arguments.replications,
                "processor_s": round(time.process_time() - begun_cpu, 2),
                "scoring_s": round(scored - begun, 2),
                "paired_s": round(time.perf_counter() - scored, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
