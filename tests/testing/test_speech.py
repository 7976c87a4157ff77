"""The synthetic corpus: the same bytes for the same arguments, honest manifests, disjoint splits."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.records import SAMPLE_RATE
from asr_ray.testing import espeak, speech
from asr_ray.testing.espeak import Voice
from asr_ray.testing.grammar import draw_sentences
from asr_ray.testing.phrasebook import GRAMMARS
from asr_ray.testing.recording import Recording
from asr_ray.testing.speech import ESPEAK_LANGUAGE, SpeechCorpus, synthesize, write_corpus

COUNTS = {"train": 6, "validation": 2, "test": 3}
LOCALES = ["el-GR", "mt-MT"]


def write(folder: Path, **changes: Any) -> SpeechCorpus:
    return write_corpus(folder, **{"locales": LOCALES, "utterances": COUNTS, "seed": 1, **changes})


def rows_of(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> SpeechCorpus:
    return write(tmp_path_factory.mktemp("speech"))


def test_every_grammar_has_a_voice() -> None:
    assert set(ESPEAK_LANGUAGE) == set(GRAMMARS)


@pytest.mark.parametrize("locale", list(GRAMMARS))
def test_speech_has_the_rate_and_length_of_speech(locale: str) -> None:
    samples = synthesize(draw_sentences(locale, count=1, seed=1)[0], locale=locale)
    assert samples.dtype == np.int16
    assert 0.5 < len(samples) / SAMPLE_RATE < 5.5
    assert np.abs(samples).max() > 2_000


def test_the_recording_surrounds_the_voice() -> None:
    clean = synthesize("Turn left.", locale="en-US")
    recording = Recording(lead_s=0.5, tail_s=0.5, snr_db=30.0, noise="pink", peak=0.5)
    heard = synthesize("Turn left.", locale="en-US", recording=recording, noise_seed=1)
    assert len(heard) == len(clean) + SAMPLE_RATE
    assert np.abs(heard).max() / 2**15 == pytest.approx(0.5, abs=0.05)
    again = synthesize("Turn left.", locale="en-US", recording=recording, noise_seed=1)
    other = synthesize("Turn left.", locale="en-US", recording=recording, noise_seed=2)
    assert np.array_equal(heard, again)
    assert not np.array_equal(heard, other)


def test_a_voice_of_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not speak"):
        synthesize("Turn left.", locale="en-US", voice=Voice(language="el"))


def test_manifests_tell_the_truth(corpus: SpeechCorpus) -> None:
    assert set(corpus.manifests) == {(locale, split) for locale in LOCALES for split in COUNTS}
    for (locale, split), manifest in corpus.manifests.items():
        assert manifest == corpus.folder / locale / f"{split}.jsonl"
        rows = rows_of(manifest)
        assert len(rows) == COUNTS[split]
        for row in rows:
            info = soundfile.info(manifest.parent / row["audio_filepath"])
            assert (info.format, info.samplerate, info.channels) == ("FLAC", SAMPLE_RATE, 1)
            assert row["duration"] == pytest.approx(info.duration, abs=1e-3)
            assert row["lang"] == row["target_lang"] == locale
            assert row["speaker"].startswith(f"{ESPEAK_LANGUAGE[locale]}+")
            assert row["audio_filepath"] == f"{split}/{row['id']}.flac"


def test_hours_are_those_of_the_manifests(corpus: SpeechCorpus) -> None:
    for locale in LOCALES:
        rows = [row for split in COUNTS for row in rows_of(corpus.manifests[locale, split])]
        assert corpus.hours[locale] == pytest.approx(sum(row["duration"] for row in rows) / 3600)


def test_texts_of_splits_are_disjoint_and_ids_unique(corpus: SpeechCorpus) -> None:
    rows = [row for manifest in corpus.manifests.values() for row in rows_of(manifest)]
    assert len({row["text"] for row in rows}) == len(rows)
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_folder_says_that_it_is_synthetic(corpus: SpeechCorpus) -> None:
    readme = (corpus.folder / "README.txt").read_text(encoding="utf-8")
    assert readme.startswith("SYNTHETIC SPEECH")
    assert "espeak-ng" in readme


def test_another_folder_and_more_workers_give_the_same_bytes(corpus: SpeechCorpus, tmp_path: Path) -> None:
    write(tmp_path, workers=2)
    assert digests(tmp_path) == digests(corpus.folder)


def test_a_larger_corpus_begins_with_the_smaller(corpus: SpeechCorpus, tmp_path: Path) -> None:
    larger = write(tmp_path, locales=["el-GR"], utterances={"train": 8})
    smaller_rows = rows_of(corpus.manifests["el-GR", "train"])
    assert rows_of(larger.manifests["el-GR", "train"])[: len(smaller_rows)] == smaller_rows
    for row in smaller_rows:
        audio = Path("el-GR") / row["audio_filepath"]
        assert (tmp_path / audio).read_bytes() == (corpus.folder / audio).read_bytes()


def test_another_seed_gives_other_speech(corpus: SpeechCorpus, tmp_path: Path) -> None:
    other = write(tmp_path, seed=2, locales=["el-GR"])
    texts = [{row["text"] for row in rows_of(c.manifests["el-GR", "train"])} for c in (corpus, other)]
    assert texts[0] != texts[1]


def test_voices_vary(tmp_path: Path) -> None:
    corpus = write(tmp_path, locales=["el-GR"], utterances={"train": 24})
    assert len({row["speaker"] for row in rows_of(corpus.manifests["el-GR", "train"])}) >= 6


def test_a_second_call_speaks_nothing(corpus: SpeechCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("spoke again")

    monkeypatch.setattr(speech, "pronounce", refuse)
    before = {path: path.stat().st_mtime_ns for path in corpus.folder.rglob("*")}
    assert write(corpus.folder) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.folder.rglob("*")} == before


def _cut_audio(folder: Path) -> None:
    path = folder / "el-GR/train/el-GR-train-00002.flac"
    path.write_bytes(path.read_bytes()[:1000])


def _lose_audio(folder: Path) -> None:
    (folder / "el-GR/train/el-GR-train-00005.flac").unlink()


def _edit_manifest(folder: Path) -> None:
    path = folder / "el-GR/train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace(".", "!"), encoding="utf-8")


def _empty_rows(folder: Path) -> None:
    (folder / "el-GR/train.jsonl").write_text("{}\n[]\n", encoding="utf-8")


def _cut_seal(folder: Path) -> None:
    (folder / "el-GR/train.seal.json").write_text('{"recipe": ', encoding="utf-8")


def _lose_seal(folder: Path) -> None:
    (folder / "el-GR/train.seal.json").unlink()


@pytest.mark.parametrize(
    "damage", [_cut_audio, _lose_audio, _edit_manifest, _empty_rows, _cut_seal, _lose_seal]
)
def test_damage_is_found_and_repaired(tmp_path: Path, damage: Any) -> None:
    arguments = {"locales": ["el-GR"], "utterances": {"train": 6, "test": 1}}
    write(tmp_path, **arguments)
    whole = digests(tmp_path)
    untouched = (tmp_path / "el-GR/test.jsonl").stat().st_mtime_ns
    damage(tmp_path)
    write(tmp_path, **arguments)
    assert digests(tmp_path) == whole
    assert (tmp_path / "el-GR/test.jsonl").stat().st_mtime_ns == untouched


def test_fewer_utterances_leave_no_strays_and_no_foreign_file_is_touched(tmp_path: Path) -> None:
    write(tmp_path, locales=["el-GR"], utterances={"train": 4})
    foreign = tmp_path / "el-GR/train/mine.flac"
    foreign.write_bytes(b"mine")
    write(tmp_path, locales=["el-GR"], utterances={"train": 2})
    names = {path.name for path in (tmp_path / "el-GR/train").iterdir()}
    assert names == {"el-GR-train-00000.flac", "el-GR-train-00001.flac", "mine.flac"}
    assert foreign.read_bytes() == b"mine"


def test_more_utterances_than_sentences_repeat_them_in_other_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("Turn left.", "Turn right.")
    monkeypatch.setattr(speech, "sentences", lambda *_, **__: few)
    corpus = write(tmp_path, locales=["en-US"], utterances={"validation": 5})
    rows = rows_of(corpus.manifests["en-US", "validation"])
    assert len({row["text"] for row in rows}) == 2
    assert len({row["duration"] for row in rows}) == 5


def test_counts_may_differ_by_locale(tmp_path: Path) -> None:
    corpus = write(tmp_path, utterances={"el-GR": {"train": 2, "test": 0}, "mt-MT": {"test": 1}})
    counted = {key: len(rows_of(manifest)) for key, manifest in corpus.manifests.items()}
    assert counted == {("el-GR", "train"): 2, ("el-GR", "test"): 0, ("mt-MT", "test"): 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"locales": ["el-GR", "xx-YY"]},
        {"utterances": {"dev": 1}},
        {"utterances": {"train": -1}},
        {"utterances": {"en-US": {"train": 1}}},
    ],
)
def test_what_cannot_be_written_is_refused_before_writing(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        write(tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()


def test_without_espeak_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    for cached in (espeak._paths, espeak.variants, espeak.espeak_version):
        cached.cache_clear()
    with pytest.raises(EnvironmentFault, match="espeakng-loader"):
        write(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_line_writes_a_corpus(tmp_path: Path) -> None:
    counts = ["--train", "2", "--validation", "1", "--test", "1", "--workers", "1"]
    assert speech.main(["--out", str(tmp_path), "--locales", "sl-SI,bg-BG", *counts]) == 0
    assert len(rows_of(tmp_path / "bg-BG/train.jsonl")) == 2
    assert speech.main(["--out", str(tmp_path), "--locales", "xx-YY", *counts]) == ConfigError.exit_code


def test_importing_needs_no_model_library() -> None:
    code = "import sys, asr_ray.testing.speech; print({'torch', 'ray', 'nemo'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
