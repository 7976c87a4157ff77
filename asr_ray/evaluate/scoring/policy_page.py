"""The normalisers as a page of the documentation, made from the policies themselves.

python -m asr_ray.evaluate.scoring.policy_page docs/normalisers.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from asr_ray.evaluate.scoring.leaderboard import on_leaderboard
from asr_ray.evaluate.scoring.number_words import spell_numbers
from asr_ray.evaluate.scoring.policies import (
    NORMALISER_VERSION,
    POLICIES,
    NumberWords,
    Policy,
    Rule,
    fingerprint,
)
from asr_ray.locales import LOCALES, unit_of

_HEAD = """\
# Normalisers

Version {version}, fingerprint {fingerprint}. Made by `python -m asr_ray.evaluate.scoring.policy_page
docs/normalisers.md`; edit the policies beside it
instead, and raise the version when scores change.

Scoring looks at transcripts through views. Stored transcripts are never changed, so old results can be
scored again.

| view | what it compares |
|---|---|
| raw | as written, in NFC; language tags are taken off, blanks are tidied |
| normalised | the headline: rules below |
| unfolded | normalised without the rules of the locale and with all marks, where there are such rules |
| number_canonical | normalised, whole numbers spelled out; none where a language is not covered |
| leaderboard | as the Open ASR Leaderboard scores, for the seven languages that it scores in words |
| characters, words | normalised in the other unit; words for Korean alone, whose blanks nobody agrees on |

Every locale but English:

1. Language tags `<xx-XX>` are taken off. Look-alikes of the apostrophe become one.
2. Points or commas, as the locale uses them, and narrow blanks that group digits go: 10.000 is 10000.
3. NFKC: full-width and half-width forms, ligatures and digits in circles become the plain ones.
4. Joiners, bidirectional controls and soft hyphens go.
5. The single characters that the rules of the locale name are replaced; then lower case, then its patterns.
6. Letters, digits, combining marks and apostrophes inside words stay; digits of every script become 0-9;
   Greek final sigma becomes the medial one; all else becomes a blank, brackets without the words in them.
7. Where marks are optional (Arabic harakat, Hebrew niqqud) they go; where they carry vowels they stay.

English follows the Whisper normaliser, after brackets have become blanks: contractions are opened, number
words become digits, spelling American, hesitations go. Its number-canonical view is the same.

Numbers in words: decimals, ordinals, times, dates with points and digits glued to letters stay as written.
Numbers are spelled as one counts, without case and gender; the words of a declined or feminine number in the
other transcript are then errors. Languages with a reading of their own (neunzehnhundert...) get it for 1100
to 1999, Chinese digit by digit before 年.

## Rates

| in `metrics.json` | what it is |
|---|---|
| rate | errors of all utterances / reference tokens of all; never a mean of rates |
| tokens | words; characters without blanks (code points, vowel signs included) for ja, ko, zh, th |
| ci95, resampled | percentile bootstrap over speakers where ten or more are known, else utterances |
| macro, macro_wer, macro_cer | mean over locales: all of them, those scored in words, in characters |
| punctuation_error_rate | marks `. , ? ! ; :` and their kin in other scripts: wrong / (wrong + right) |
| case_error_rate | words right but for their capitals / words right without case; null without capitals |
| empty_rate | spoken utterances for which nothing was written |
| hallucination_rate | silent ones (no words in the reference, or `[silence]`) with something written |
| length_ratio | tokens written / reference tokens, spoken utterances |
| script_mismatch_rate | hypotheses of which most letters are of another script than the locale's |
| beyond_full_rate | spoken utterances with more errors than reference tokens |
| tags | named language against spoken, from raw text: accuracy by locale and by language, confusion matrix |

Totals equal those of other tools (jiwer, in a test); the split into substitutions, deletions and insertions
depends on how ties are broken.

"""


def policy_page() -> str:
    """Return the page as Markdown."""
    head = _HEAD.format(version=NORMALISER_VERSION, fingerprint=fingerprint())
    return head + "".join(line + "\n" for line in (*_locale_table(), "", *_rule_table()))


def _locale_table() -> Iterator[str]:
    yield "## Locales"
    yield ""
    yield "| locale | unit | rules | marks | 1976 and 21 | leaderboard | not forgiven |"
    yield "|---|---|---|---|---|---|---|"
    for tag in sorted(LOCALES):
        policy = POLICIES[tag]
        cells = (
            tag,
            unit_of(tag).upper(),
            _rules(policy),
            "kept" if policy.keeps_marks else "dropped",
            _numbers(policy.numbers) if policy.method == "unicode" else "digits (Whisper)",
            "yes" if on_leaderboard(tag) else "",
            policy.caveat,
        )
        yield f"| {' | '.join(cells)} |"


def _rules(policy: Policy) -> str:
    if policy.method != "unicode":
        return "Whisper English"
    names = [rule.name for rule in policy.rules]
    return ", ".join([*names, "quotes inside words go"] if policy.joins_quotes else names)


def _numbers(numbers: NumberWords | None) -> str:
    if numbers is None:
        return "none"
    source = "CLDR" if numbers.library == "cldr" else numbers.library
    # Zero-width blanks between Thai words would not be seen.
    return f"{spell_numbers('1976; 21', numbers=numbers)} ({source})".replace("\u200b", "")


def _rule_table() -> Iterator[str]:
    yield "## Rules"
    yield ""
    yield "| rule | locales | what is forgiven, and why |"
    yield "|---|---|---|"
    users: dict[str, list[str]] = {}
    rules: dict[str, Rule] = {}
    for tag in sorted(POLICIES):
        for rule in POLICIES[tag].rules:
            users.setdefault(rule.name, []).append(tag)
            rules[rule.name] = rule
    for name, tags in users.items():
        yield f"| {name} | {', '.join(tags)} | {rules[name].why} |"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.parse_args().path.write_text(policy_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
