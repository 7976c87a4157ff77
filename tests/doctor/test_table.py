"""What a person reads, also in a log without colours."""

from __future__ import annotations

import io

from rich.console import Console

from asr_ray.doctor.facts import Check
from asr_ray.doctor.table import draw_checks


def test_it_shows_every_check_and_how_to_mend_the_bad_ones() -> None:
    screen = io.StringIO()
    checks = [
        Check(name="token", outcome="ok", found="refused without one"),
        Check(name="GPUs", outcome="fail", found="[0] of 4", fix="a [long] way " + "on " * 60),
    ]
    draw_checks(Console(file=screen, width=80), checks)
    text = screen.getvalue()
    assert "[0] of 4" in text
    assert f"fail: GPUs\n  fix: {checks[1].fix.strip()}" in text
    assert "fix" not in text.partition("fail: GPUs")[0]
