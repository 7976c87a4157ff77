"""Advice is given when something stands out, names it, and is silent otherwise."""

from __future__ import annotations

import pytest

from asr_ray.data.checks.advice import advice_of, remedy_of
from asr_ray.data.checks.findings import Findings
from asr_ray.records import Reason
from asr_ray.testing.findings import findings_with, rejected_row

PLENTY = {("el-GR", "radio"): 1000, ("bg-BG", "radio"): 1000}
"""Some 67 minutes each."""


def sentences(findings: Findings) -> str:
    return "\n".join(each.what for each in advice_of(findings))


def test_ordinary_speech_needs_no_advice() -> None:
    assert advice_of(findings_with(PLENTY, held_out=[])) == []


@pytest.mark.parametrize(
    ("findings", "what"),
    [
        (findings_with(PLENTY), "No held-out speech was named"),
        (findings_with(PLENTY, held_out=[3, 5]), "2 utterances can be heard in held-out speech too."),
        (findings_with(PLENTY, held_out=[], audios=1990), "10 utterances repeat audio of an earlier one."),
        (findings_with(PLENTY, held_out=[], texts=40), "100% of the utterances say one of 80 texts"),
        (findings_with({("el-GR", "a"): 500}, held_out=[]), "Less than an hour of el-GR."),
        (
            findings_with({("el-GR", "a"): 60_000, ("bg-BG", "a"): 1_000}, held_out=[], max_text_repeats=99),
            "60 times as much el-GR as bg-BG",
        ),
        (findings_with(PLENTY, held_out=[], duration_s=35, characters=500), "longer than 30 s"),
        (findings_with(PLENTY, held_out=[], characters=110), "27.5 characters per second"),
        (findings_with(PLENTY, held_out=[], characters=8), "2.0 characters per second"),
        (findings_with(PLENTY, held_out=[], tokens=51), "100.0% of the utterances have more tokens"),
    ],
)
def test_what_stands_out_is_named(findings: Findings, what: str) -> None:
    assert what in sentences(findings)


def test_a_broken_limit_comes_first_with_its_main_reason() -> None:
    rows = [rejected_row()] * 60 + [rejected_row(Reason.SILENCE)] * 20

    first, *_ = advice_of(findings_with(PLENTY, rejected=rows))

    assert first.is_severe
    assert first.what == "el-GR: 7.4% of the rows are faulty (limit 1.0%), mostly truncated."
    assert first.remedy == remedy_of(Reason.TRUNCATED)


def test_no_reason_is_called_the_main_one_of_many() -> None:
    rows = [rejected_row(reason) for reason in (Reason.SILENCE, Reason.TRUNCATED, Reason.MOJIBAKE)] * 20

    first, *_ = advice_of(findings_with(PLENTY, rejected=rows))

    assert "mostly" not in first.what
    assert "3 reasons" in first.remedy


def test_every_fault_has_a_remedy_and_what_was_asked_for_has_none() -> None:
    wanted = {Reason.IN_HELD_OUT_AUDIO, Reason.IN_HELD_OUT_TEXT}
    assert {reason for reason in Reason if not remedy_of(reason)} == wanted
