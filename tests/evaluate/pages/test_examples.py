"""Examples show losses first, each utterance once, and the same ones every time."""

from __future__ import annotations

from asr_ray.evaluate.pages.examples import choose_examples, examples_per_locale
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.testing.transcripts import made_up_hypotheses


def rows(*hyps: str) -> list[Hypothesis]:
    return [
        Hypothesis(id=f"u{index}", locale="el-GR", ref="ένα δύο τρία", hyp=hyp, duration_s=1.0)
        for index, hyp in enumerate(hyps)
    ]


def test_groups_hold_what_they_say() -> None:
    base = rows("ένα δύο τρία", "", "ένα δύο", "ένα δύο τρία")
    tuned = rows("ένα", "ένα δύο τρία", "ένα δύο", "ένα δύο τρία")
    groups = {
        group.title: [example.id for example in group.examples]
        for group in choose_examples([("base", base), ("tuned", tuned)])
    }
    assert groups == {"Became worse": ["u0"], "Largest gains": ["u1"], "Most errors left": ["u2"]}


def test_one_model_shows_its_worst_utterances() -> None:
    (group,) = choose_examples([("base", rows("", "ένα", "ένα δύο τρία"))], per_locale=1)
    assert [example.id for example in group.examples] == ["u0"]
    assert [transcript.model for transcript in group.examples[0].transcripts] == ["base"]


def test_each_utterance_stands_once_and_order_of_rows_does_not_matter() -> None:
    base = made_up_hypotheses(60, noise=0.3) + made_up_hypotheses(60, noise=0.3, locale="bg-BG")
    tuned = made_up_hypotheses(60, noise=0.2) + made_up_hypotheses(60, noise=0.4, locale="bg-BG")
    groups = choose_examples([("base", base), ("tuned", tuned)], per_locale=3)
    ids = [example.id for group in groups for example in group.examples]
    assert len(ids) == len(set(ids)) == 3 * 2 * 3
    assert choose_examples([("base", base[::-1]), ("tuned", tuned)], per_locale=3) == groups


def test_a_group_knows_how_many_it_could_have_shown() -> None:
    (group,) = choose_examples([("base", rows("", "ένα", "ένα δύο τρία"))], per_locale=1)
    assert (group.found, group.scored, len(group.examples)) == (2, 3, 1)


def test_many_locales_show_fewer_utterances_each() -> None:
    assert [examples_per_locale(number) for number in (1, 6, 12, 40)] == [10, 10, 5, 2]


def test_a_perfect_model_has_no_examples() -> None:
    assert choose_examples([("base", made_up_hypotheses(20, noise=0.0))]) == []
