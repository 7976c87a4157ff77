"""Slices add up to the whole, and each utterance is where its length, noise and source put it."""

from __future__ import annotations

import dataclasses
import json
import random

from hypothesis import given
from hypothesis import strategies as st

from asr_ray.evaluate.scoring.score import Hypothesis, count_pair
from asr_ray.evaluate.scoring.slices import band_names, slices_of, slices_to_json, spread_of_speakers
from asr_ray.locales import unit_of
from asr_ray.testing.transcripts import made_up_hypotheses

a_row = st.builds(
    Hypothesis,
    id=st.uuids().map(str),
    locale=st.sampled_from(["el-GR", "ja-JP"]),
    ref=st.sampled_from(["ένα δύο τρία", "", "ναι"]),
    hyp=st.sampled_from(["ένα δύο", "ναι ναι", ""]),
    duration_s=st.floats(0.1, 60),
    speaker=st.sampled_from(["", "a", "b"]),
    source=st.sampled_from(["radio", "phone"]),
    snr_db=st.none() | st.floats(-10, 80),
)


@given(rows=st.lists(a_row, max_size=30))
def test_slices_of_a_dimension_add_up(rows: list[Hypothesis]) -> None:
    cut = slices_of(rows)
    for locale, by_dimension in cut.items():
        spoken = [row for row in rows if row.locale == locale and row.ref]
        errors = sum(count_pair(row, unit=unit_of(locale)).errors for row in spoken)
        for dimension in ("duration", "source"):
            slices = by_dimension.get(dimension, {}).values()
            assert sum(counts.utterances for counts in slices) == len(spoken)
            assert sum(counts.errors for counts in slices) == errors
        known = sum(row.snr_db is not None for row in spoken)
        assert sum(counts.utterances for counts in by_dimension.get("snr", {}).values()) == known
    json.dumps(slices_to_json(cut))


def test_bands_begin_at_their_lower_edge_and_rise() -> None:
    rows = [
        Hypothesis(id=str(seconds), locale="el-GR", ref="ναι", hyp="ναι", duration_s=seconds, snr_db=seconds)
        for seconds in (1.99, 2.0, 5.0, 30.0)
    ]
    [by_dimension] = slices_of(rows).values()
    assert list(by_dimension["duration"]) == ["under 2 s", "2 to 5 s", "5 to 10 s", "20 s and more"]
    assert list(by_dimension["snr"]) == ["under 10 dB", "30 dB and more"]
    assert band_names("snr") == ["under 10 dB", "10 to 20 dB", "20 to 30 dB", "30 dB and more"]


def test_speakers_are_compared_where_they_said_enough() -> None:
    rows = [
        dataclasses.replace(row, speaker=f"s{index % 4}", hyp="" if index % 4 == 2 else row.ref)
        for index, row in enumerate(made_up_hypotheses(80, noise=0.0))
    ]
    random.Random(1).shuffle(rows)
    spread = spread_of_speakers(slices_of(rows)["el-GR"]["speaker"])
    assert spread is not None
    assert (spread.speakers, spread.median, list(spread.worst)) == (4, 0.0, [("s2", 1.0)])
    assert spread_of_speakers(slices_of(rows[:2])["el-GR"]["speaker"]) is None
    # Speakers may be thousands; they stay out of metrics.json.
    assert "speaker" not in slices_to_json(slices_of(rows))["el-GR"]
