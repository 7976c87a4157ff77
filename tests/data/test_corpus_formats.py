"""What every corpus format must do: the same rows back, each again by its span, bad ones alone rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_ray.data.audio import decode_pcm16
from asr_ray.data.checks.quarantine import Checked, check_utterance
from asr_ray.data.corpus import READERS, Row
from asr_ray.records import Reason, Rejected, Utterance
from asr_ray.settings import CheckSettings, CorpusSettings
from asr_ray.testing.corpora import WRITERS, Clip, clips
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise

FORMATS = list(WRITERS)
EXACT = [name for name in FORMATS if name != "common_voice"]  # MP3 loses


def read_all(corpus: CorpusSettings, *, rows_per_span: int = 3) -> list[Row]:
    reader = READERS[corpus.format]
    return [
        row
        for file in reader.files(corpus)
        for span in reader.split(file, rows_per_span=rows_per_span)
        for row in reader.read(span, corpus=corpus)
    ]


def utterances(corpus: CorpusSettings) -> dict[str, Utterance]:
    contents = [row.content for row in read_all(corpus)]
    found = {each.text: each for each in contents if isinstance(each, Utterance)}
    assert len(found) == len(contents), contents
    return found


def verdict(content: Utterance | Rejected) -> Checked | Rejected:
    if isinstance(content, Rejected):
        return content
    return check_utterance(content, checks=CheckSettings(), tokenizer=FakeTokenizer())


def test_every_format_has_a_reader() -> None:
    assert set(READERS) == set(WRITERS)


@pytest.mark.parametrize("name", FORMATS)
def test_the_rows_come_back(name: str, tmp_path: Path) -> None:
    spoken = clips(7)
    corpus = WRITERS[name](tmp_path, spoken)

    found = utterances(corpus)

    assert set(found) == {clip.text for clip in spoken}
    assert len({each.id for each in found.values()}) == 7
    for clip in spoken:
        utterance = found[clip.text]
        checked = verdict(utterance)
        assert isinstance(checked, Checked), checked
        assert checked.utterance.locale == "el-GR"
        assert utterance.source == corpus.source
        assert utterance.speaker == (None if name == "fleurs" else clip.speaker)
        # The encoder of MP3 pads to whole frames.
        assert utterance.duration_s == pytest.approx(clip.duration_s, abs=0.1 if name not in EXACT else 1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_audio_comes_back_bit_by_bit(name: str, tmp_path: Path) -> None:
    spoken = clips(4)

    found = utterances(WRITERS[name](tmp_path, spoken))

    for clip in spoken:
        assert np.array_equal(decode_pcm16(found[clip.text].audio), clip.samples)


@pytest.mark.parametrize("name", FORMATS)
def test_a_single_row_is_found_again_by_its_span_and_place(name: str, tmp_path: Path) -> None:
    corpus = WRITERS[name](tmp_path, clips(5))

    for row in read_all(corpus):
        (again,) = READERS[name].read(row.span, corpus=corpus, wanted={row.place})
        assert again == row
        if not row.span.is_block:
            assert list(READERS[name].read(row.span, corpus=corpus)) == [row]


@pytest.mark.parametrize("name", FORMATS)
def test_ids_do_not_depend_on_where_the_corpus_stands(name: str, tmp_path: Path) -> None:
    first, second = (
        {each.id for each in utterances(WRITERS[name](tmp_path / folder / "c", clips(3))).values()}
        for folder in ("a", "b")
    )

    assert first == second


@pytest.mark.parametrize("name", FORMATS)
def test_a_channel_can_be_chosen(name: str, tmp_path: Path) -> None:
    left, right = noise(0.6, seed=1), noise(0.6, seed=2)
    stereo = replace(clips(1)[0], samples=np.stack([left, right], axis=1))
    corpus = WRITERS[name](tmp_path, [stereo])

    def read_with(channel: int | None) -> Checked | Rejected:
        (row,) = read_all(corpus.model_copy(update={"channel": channel}))
        return verdict(row.content)

    as_found, chosen, outside = read_with(None), read_with(1), read_with(2)

    assert isinstance(as_found, Rejected)
    assert as_found.reason is Reason.WRONG_CHANNELS
    assert isinstance(chosen, Checked)
    if name in EXACT:
        assert np.array_equal(decode_pcm16(chosen.utterance.audio), right)
    assert isinstance(outside, Rejected)
    assert outside.reason is Reason.WRONG_CHANNELS


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
def test_every_coding_passes_the_checks(format: str, subtype: str | None, tmp_path: Path) -> None:
    clip = Clip(name="a", samples=noise(1.0), text="Καλημέρα.", speaker="s")
    (tmp_path / "clips").mkdir()
    (tmp_path / "train.tsv").write_text("path\tsentence\na.any\tΚαλημέρα.\n", encoding="utf-8")
    (tmp_path / "clips" / "a.any").write_bytes(clip.encoded(format=format, subtype=subtype))
    corpus = CorpusSettings(path=str(tmp_path), source="s", format="common_voice", locale="el-GR")

    (row,) = read_all(corpus)

    assert isinstance(verdict(row.content), Checked), verdict(row.content)


@pytest.mark.parametrize("name", ["nemo", "lhotse", "common_voice", "fleurs"])
def test_missing_and_truncated_files_cost_their_rows_only(name: str, tmp_path: Path) -> None:
    spoken = clips(4)
    corpus = WRITERS[name](tmp_path, spoken)
    missing, truncated = (next(tmp_path.rglob(f"clip{index}.*")) for index in (1, 2))
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:3000])

    verdicts = [verdict(row.content) for row in read_all(corpus)]

    assert [isinstance(each, Checked) for each in verdicts] == [True, False, False, True]
    reasons = [each.reason for each in verdicts if isinstance(each, Rejected)]
    assert reasons[0] is Reason.MISSING_AUDIO
    # A cut WAV or MP3 is a shorter one to its header; where nothing claims a duration that is no fault
    # that can be seen, unless the claim of the list tells.
    assert reasons[1] in {Reason.TRUNCATED, Reason.DURATION_MISMATCH, Reason.DURATION_RANGE}
