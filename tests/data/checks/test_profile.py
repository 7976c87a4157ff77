"""The profile counts every utterance once and reads like the numbers it came from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_ray.data.checks.profile import histogram_of, profile_of


def rows(*lines: tuple[str, float, int, int, int]) -> pa.Table:
    names = ("locale", "duration_s", "num_tokens", "num_characters", "speaker")
    types = (pa.string(), pa.float64(), pa.int32(), pa.int32(), pa.uint64())
    columns = list(zip(*lines, strict=True)) or [()] * len(names)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, names=names)


def test_each_locale_has_its_own_numbers() -> None:
    profile = profile_of(
        rows(
            ("el-GR", 2.0, 10, 20, 7),
            ("bg-BG", 1.0, 20, 15, 0),
            ("el-GR", 4.0, 10, 40, 7),
            ("el-GR", 3.0, 15, 60, 2**63),
        )
    )

    bulgarian, greek = profile.locales
    assert (greek.locale, greek.utterances, greek.speakers) == ("el-GR", 3, 2)
    assert greek.hours == pytest.approx(9 / 3600)
    assert greek.characters_per_s.median == pytest.approx(10.0)
    assert greek.tokens_per_s.median == pytest.approx(5.0)
    assert (bulgarian.speakers, bulgarian.duration_s.median) == (0, 1.0)
    # An encoder frame takes 80 ms: 12.5 of them for 20 tokens.
    assert (bulgarian.crowded_share, greek.crowded_share) == (1.0, 0.0)


def test_nothing_has_an_empty_profile() -> None:
    profile = profile_of(rows())

    assert (profile.locales, profile.duration_s, profile.histogram.counts) == ((), None, (0,))


@given(st.lists(st.floats(0.001, 5000.0), min_size=1, max_size=200))
def test_every_utterance_is_in_one_bin_of_a_readable_histogram(durations: list[float]) -> None:
    histogram = histogram_of(np.array(durations))

    assert sum(histogram.counts) == len(durations)
    assert len(histogram.counts) <= 40
    assert len(histogram.counts) * histogram.width_s >= max(durations) * (1 - 1e-9)
    lower = (len(histogram.counts) - 1) * histogram.width_s
    assert lower <= max(durations) * (1 + 1e-9)
