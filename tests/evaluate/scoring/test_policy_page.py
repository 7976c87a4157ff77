"""The page of the documentation is the one that the policies make."""

from __future__ import annotations

from pathlib import Path

from asr_ray.evaluate.scoring import policies
from asr_ray.evaluate.scoring.policies import POLICIES, fingerprint
from asr_ray.evaluate.scoring.policy_page import policy_page
from asr_ray.locales import LOCALES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "normalisers.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == policy_page(), (
        "run `python -m asr_ray.evaluate.scoring.policy_page docs/normalisers.md`, and raise "
        "NORMALISER_VERSION if scores change"
    )


def test_page_has_a_row_for_every_locale() -> None:
    rows = [line for line in policy_page().splitlines() if line[2:7] in LOCALES and line.startswith("| ")]
    assert [row[2:7] for row in rows] == sorted(LOCALES)
    assert {row.count(" | ") for row in rows} == {6}


def test_fingerprint_changes_with_a_rule() -> None:
    before = fingerprint()
    original = POLICIES["ru-RU"]
    try:
        policies.POLICIES["ru-RU"] = POLICIES["uk-UA"]
        assert fingerprint() != before
    finally:
        policies.POLICIES["ru-RU"] = original
    assert fingerprint() == before
