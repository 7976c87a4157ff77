"""Preparation on a real, small Ray: what goes in comes out, in one order, or nothing does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data
import soundfile

from asr_ray.data import shards
from asr_ray.data.audio import audio_hash, encode_flac
from asr_ray.data.catalog import TOKENIZER_DIGEST, Catalog
from asr_ray.data.checks.findings import findings_of_folder
from asr_ray.data.checks.fingerprints import read_fingerprints
from asr_ray.data.checks.summary import PrepareSummary
from asr_ray.data.checks.survey import by_shard, corpus_files, lay_out, survey
from asr_ray.data.checks.text_checks import text_hash
from asr_ray.data.corpus import hf_parquet
from asr_ray.data.read import addresses, decode_pcm16, read_utterances
from asr_ray.data.shard_file import SHARD_SCHEMA
from asr_ray.data.shards import check_corpora, prepare
from asr_ray.errors import ConfigError, DataError
from asr_ray.settings import CheckDataSettings, CheckSettings, CorpusSettings, PrepareSettings
from asr_ray.testing.corpora import WRITERS, clips, write_hf_parquet, write_nemo_tarred
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise, write_corpus, write_manifest

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

TOKENIZER = FakeTokenizer()


def settings_for(manifest: str | Path, out: Path, **checks: float) -> PrepareSettings:
    return PrepareSettings(
        corpora=[CorpusSettings(path=str(manifest), source="radio")],
        out=out,
        utterances_per_shard=20,
        utterances_per_row_group=8,
        checks=CheckSettings(**checks),
    )


def content_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 Greek and 30 Bulgarian utterances in one file."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = write_corpus(folder, locale="el-GR", count=50) + write_corpus(folder, locale="bg-BG", count=30)
    return write_manifest(folder / "m.jsonl", rows)


@pytest.fixture(scope="module")
def prepared(manifest: Path, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> PrepareSummary:
    return prepare(settings_for(manifest, tmp_path_factory.mktemp("data") / "out"), tokenizer=TOKENIZER)


def test_every_utterance_comes_back_as_it_was(manifest: Path, prepared: PrepareSummary) -> None:
    catalog = Catalog.read(prepared.out / "catalog.parquet", ids=True)

    utterances = read_utterances(prepared.out, addresses(catalog.table))

    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    originals = {(manifest.parent / row["audio_filepath"]).read_bytes(): row for row in rows}
    assert len(utterances) == len(originals) == 80
    for utterance in utterances:
        row = originals.pop(utterance.audio)
        assert (utterance.text, utterance.locale, utterance.speaker) == (
            row["text"],
            row["target_lang"],
            row["speaker"],
        )
        assert len(decode_pcm16(utterance.audio)) == round(utterance.duration_s * 16_000)


def test_the_catalog_describes_the_shards(prepared: PrepareSummary) -> None:
    catalog = Catalog.read(prepared.out / "catalog.parquet", ids=True)
    rows = catalog.table.to_pylist()

    for row in rows:
        stored = (
            pq.ParquetFile(prepared.out / row["shard"])
            .read_row_group(row["row_group"])
            .slice(row["row"], 1)
            .to_pylist()[0]
        )
        assert (stored["id"], stored["locale"], stored["source"]) == (row["id"], row["locale"], row["source"])
        assert stored["duration_s"] == pytest.approx(row["duration_s"])
        assert row["num_tokens"] == len(TOKENIZER.encode(stored["text"]))
    assert len({row["speaker"] for row in rows}) == 3
    assert catalog.metadata[TOKENIZER_DIGEST] == TOKENIZER.digest
    assert catalog.hours_by_key[("el-GR", "radio")] == pytest.approx(
        next(each.hours for each in prepared.prepared if each.locale == "el-GR"), rel=1e-5
    )


def test_shards_hold_one_locale_in_small_row_groups(prepared: PrepareSummary) -> None:
    files = sorted((prepared.out / "shards").rglob("*.parquet"))

    assert [str(file.relative_to(prepared.out)) for file in files] == [
        "shards/bg-BG/radio/part-00000.parquet",
        "shards/bg-BG/radio/part-00001.parquet",
        "shards/el-GR/radio/part-00000.parquet",
        "shards/el-GR/radio/part-00001.parquet",
        "shards/el-GR/radio/part-00002.parquet",
    ]
    for file in files:
        metadata = pq.read_metadata(file)
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        assert all(size == 8 for size in sizes[:-1])
        assert pq.read_schema(file).equals(SHARD_SCHEMA)
        assert set(pq.read_table(file)["locale"].to_pylist()) == {file.parent.parent.name}


def test_the_summary_says_what_was_made(prepared: PrepareSummary) -> None:
    stored = json.loads((prepared.out / "summary.json").read_text())

    assert stored == json.loads(json.dumps(prepared.as_json()))
    assert [(each["locale"], each["utterances"]) for each in stored["prepared"]] == [
        ("bg-BG", 30),
        ("el-GR", 50),
    ]
    assert (stored["utterances"], stored["rejected_rows"], stored["exit_code"]) == (80, 0, 0)


def test_the_result_depends_on_nothing_but_the_corpus(
    manifest: Path, prepared: PrepareSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = manifest.read_bytes().splitlines(keepends=True)
    shuffled = manifest.parent / "shuffled" / "m.jsonl"
    shuffled.parent.mkdir()
    order = np.random.default_rng(0).permutation(len(lines))
    moved = [lines[index].replace(b'"audio_filepath": "', b'"audio_filepath": "../') for index in order]
    shuffled.write_bytes(b"".join(moved))
    named = [json.loads(line) | {"id": f"u{index}"} for index, line in enumerate(lines)]
    moved_named = [json.loads(moved[place]) | {"id": f"u{index}"} for place, index in enumerate(order)]
    monkeypatch.setattr(shards, "_ROWS_PER_SPAN", 7)

    prepare(
        settings_for(write_manifest(manifest.parent / "a.jsonl", named), tmp_path / "a"), tokenizer=TOKENIZER
    )
    monkeypatch.setattr(shards, "_MAX_TASKS", 2)
    prepare(
        settings_for(write_manifest(shuffled.parent / "b.jsonl", moved_named), tmp_path / "b"),
        tokenizer=TOKENIZER,
    )

    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")


def test_progress_ends_at_one_for_both_stages(manifest: Path, tmp_path: Path) -> None:
    told: dict[str, float] = {}

    prepare(settings_for(manifest, tmp_path / "out"), tokenizer=TOKENIZER, progress=told.__setitem__)

    assert told == {"check": 1.0, "write": 1.0}


def test_an_unchanged_preparation_is_reused_and_a_changed_one_is_not(manifest: Path, tmp_path: Path) -> None:
    settings = settings_for(manifest, tmp_path / "out")
    first = prepare(settings, tokenizer=TOKENIZER)
    written = (tmp_path / "out" / "catalog.parquet").stat().st_mtime_ns

    again = prepare(settings, tokenizer=TOKENIZER)

    assert (first.reused, again.reused) == (False, True)
    assert again.as_json() == first.as_json()
    assert (tmp_path / "out" / "catalog.parquet").stat().st_mtime_ns == written
    stricter = settings_for(manifest, tmp_path / "out", max_duration_s=30.0)
    assert not prepare(stricter, tokenizer=TOKENIZER).reused


@pytest.fixture
def bad_manifest(tmp_path: Path) -> Path:
    """Twelve rows: six good ones and one of each fault."""
    rows = write_corpus(tmp_path, locale="el-GR", count=12)
    (tmp_path / str(rows[6]["audio_filepath"])).unlink()
    truncated = tmp_path / str(rows[7]["audio_filepath"])
    truncated.write_bytes(truncated.read_bytes()[:5_000])
    lines: list[dict[str, object] | bytes] = [*rows[:8]]
    lines.append(rows[8] | {"text": ""})
    lines.append(rows[9] | {"target_lang": "xx-YY"})
    lines.append(json.dumps(rows[10]).encode()[:-9])
    lines.append(json.dumps(rows[11] | {"text": "déjà vu"}, ensure_ascii=False).encode("latin-1"))
    return write_manifest(tmp_path / "m.jsonl", lines)


FINDINGS = {"quarantine.parquet", "summary.json", "data_report.html"}

FAULTS = {
    "missing-audio": 7,
    "truncated": 8,
    "empty-text": 9,
    "unknown-locale": 10,
    "bad-json": 11,
    "bad-encoding": 12,
}


def test_bad_rows_stop_the_preparation_with_the_reason_of_each(bad_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    with pytest.raises(DataError) as caught:
        prepare(settings_for(bad_manifest, out), tokenizer=TOKENIZER)

    assert "el-GR: 3 of 9 rows rejected (33.3%)" in caught.value.message
    assert "no known locale in radio: 3 of 12 rows rejected (25.0%)" in caught.value.message
    assert f"{bad_manifest}:7  missing-audio" in caught.value.message
    assert str(out / "quarantine.parquet") in caught.value.message
    assert {path.name for path in out.iterdir()} == FINDINGS
    stored = json.loads((out / "summary.json").read_text())
    assert stored["exit_code"] == 3
    assert Counter(stored["rejected"]["el-GR"]) + Counter(
        stored["rejected"]["no known locale in radio"]
    ) == Counter(dict.fromkeys(FAULTS, 1))


def test_below_the_limit_bad_rows_are_put_aside(bad_manifest: Path, tmp_path: Path) -> None:
    summary = prepare(
        settings_for(bad_manifest, tmp_path / "out", max_rejected_share=0.5), tokenizer=TOKENIZER
    )

    quarantine = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert {row["reason"]: row["origin"] for row in quarantine} == {
        reason: f"{bad_manifest}:{line}" for reason, line in FAULTS.items()
    }
    assert (summary.utterances, summary.num_rejected, summary.exit_code) == (6, 6, 0)


def test_a_failed_preparation_can_be_repaired_in_place(bad_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare(settings_for(bad_manifest, tmp_path / "out"), tokenizer=TOKENIZER)
    bad_manifest.write_bytes(b"".join(bad_manifest.read_bytes().splitlines(keepends=True)[:6]))

    assert prepare(settings_for(bad_manifest, tmp_path / "out"), tokenizer=TOKENIZER).utterances == 6


def test_a_failed_preparation_leaves_the_earlier_result_usable(
    manifest: Path, bad_manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data" / "out"
    good = settings_for(manifest, out)
    prepare(good, tokenizer=TOKENIZER)
    before = content_of(out)

    for _ in range(2):
        with pytest.raises(DataError):
            prepare(settings_for(bad_manifest, out), tokenizer=TOKENIZER)

    assert {path.name for path in (out / "rejected").iterdir()} == FINDINGS
    after = {name: digest for name, digest in content_of(out).items() if not name.startswith("rejected")}
    assert after == before
    assert prepare(good, tokenizer=TOKENIZER).reused
    prepare(settings_for(manifest, out, max_duration_s=30.0), tokenizer=TOKENIZER)
    assert not (out / "rejected").exists()


def test_replaced_audio_is_read_when_reuse_is_off(tmp_path: Path) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=3)
    settings = settings_for(write_manifest(tmp_path / "m.jsonl", rows), tmp_path / "out")
    prepare(settings, tokenizer=TOKENIZER)
    replaced = encode_flac(noise(float(rows[0]["duration"]), seed=99))  # type: ignore[arg-type]
    (tmp_path / str(rows[0]["audio_filepath"])).write_bytes(replaced)

    assert prepare(settings, tokenizer=TOKENIZER).reused
    anew = prepare(settings.model_copy(update={"reuse": False}), tokenizer=TOKENIZER)

    assert not anew.reused
    catalog = Catalog.read(tmp_path / "out" / "catalog.parquet")
    assert replaced in {each.audio for each in read_utterances(tmp_path / "out", addresses(catalog.table))}


def test_held_out_speech_and_copies_are_left_out(tmp_path: Path) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=6)
    samples, _ = soundfile.read(tmp_path / str(rows[1]["audio_filepath"]), dtype="int16")
    soundfile.write(tmp_path / "copy.wav", samples, 16_000, subtype="PCM_16")
    test = settings_for(write_manifest(tmp_path / "test.jsonl", rows[:2]), tmp_path / "test")
    prepare(test, tokenizer=TOKENIZER)
    copies = [rows[1] | {"audio_filepath": "copy.wav"}, rows[2] | {"text": "Άλλα λόγια.", "id": "again"}]
    manifest = write_manifest(tmp_path / "train.jsonl", [*rows[1:5], *copies])
    settings = settings_for(manifest, tmp_path / "train", max_rejected_share=0.2)

    summary = prepare(settings.model_copy(update={"held_out": [tmp_path / "test"]}), tokenizer=TOKENIZER)

    quarantine = pq.read_table(tmp_path / "train" / "quarantine.parquet").to_pylist()
    assert [(row["origin"][-2:], row["reason"]) for row in quarantine] == [
        (":1", "in-held-out-audio"),
        (":5", "in-held-out-audio"),
        (":6", "duplicate-audio"),
    ]
    assert quarantine[2]["detail"] == f"same audio as {manifest}:2, other words"
    # One of six rows is faulty: held-out speech is left out on request.
    assert (summary.utterances, summary.overlaps.held_out_text_rows) == (3, 3)


def test_another_held_out_set_is_another_preparation(manifest: Path, tmp_path: Path) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=2, seed=5)
    test = settings_for(write_manifest(tmp_path / "test.jsonl", rows[:1]), tmp_path / "test")
    prepare(test, tokenizer=TOKENIZER)
    settings = settings_for(manifest, tmp_path / "out").model_copy(update={"held_out": [tmp_path / "test"]})

    assert not prepare(settings, tokenizer=TOKENIZER).reused
    assert prepare(settings, tokenizer=TOKENIZER).reused
    write_manifest(tmp_path / "test.jsonl", rows)
    prepare(test, tokenizer=TOKENIZER)
    assert not prepare(settings, tokenizer=TOKENIZER).reused


def test_fingerprints_stand_in_the_order_of_the_catalog(prepared: PrepareSummary) -> None:
    catalog = Catalog.read(prepared.out / "catalog.parquet")
    prints = read_fingerprints(prepared.out, catalog_digest=catalog.digest).to_pylist()

    utterances = read_utterances(prepared.out, addresses(catalog.table))

    assert [(each["audio_hash"], each["text_hash"], each["num_characters"]) for each in prints] == [
        (
            audio_hash(decode_pcm16(each.audio)),
            text_hash(each.text, locale=each.locale),
            len(each.text),
        )
        for each in utterances
    ]


def test_a_check_finds_what_preparation_finds_and_writes_no_shard(bad_manifest: Path, tmp_path: Path) -> None:
    settings = settings_for(bad_manifest, tmp_path / "out", max_rejected_share=0.5)

    findings = check_corpora(settings, tokenizer=TOKENIZER)

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checked"]
    assert {path.name for path in (tmp_path / "out" / "checked").iterdir()} == FINDINGS
    assert findings.summary.as_json() == prepare(settings, tokenizer=TOKENIZER).as_json()
    strict = settings_for(bad_manifest, tmp_path / "strict")
    error = check_corpora(strict, tokenizer=TOKENIZER).error
    assert error is not None
    assert str(tmp_path / "strict" / "checked" / "quarantine.parquet") in error.message


def test_the_findings_about_a_folder_are_those_of_its_preparation(bad_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = settings_for(bad_manifest, out, max_rejected_share=0.5, max_text_repeats=2)
    summary = prepare(settings, tokenizer=TOKENIZER)

    judged = CheckDataSettings(data=out, checks=settings.checks)
    findings = findings_of_folder(judged, out)

    assert summary.overlaps.repeated_rows == 6
    assert summary.overlaps.most_repeated[0].text == "Καλημέρα, τι κάνεις;"
    # The catalog keeps durations as float32.
    assert findings.summary.hours == pytest.approx(summary.hours, rel=1e-6)
    assert dataclasses.replace(findings.summary, prepared=summary.prepared) == summary
    assert findings.error is None


def test_a_folder_that_holds_held_out_speech_is_an_error(manifest: Path, tmp_path: Path) -> None:
    lines = manifest.read_bytes().splitlines(keepends=True)
    part = manifest.parent / "part.jsonl"
    part.write_bytes(b"".join(lines[:5]))
    prepare(settings_for(manifest, tmp_path / "train"), tokenizer=TOKENIZER)
    prepare(settings_for(part, tmp_path / "test"), tokenizer=TOKENIZER)

    judged = CheckDataSettings(data=tmp_path / "train", held_out=[tmp_path / "test"])
    findings = findings_of_folder(judged, tmp_path / "train")

    assert (findings.summary.overlaps.held_out_audio_rows, findings.summary.exit_code) == (5, 3)
    assert "5 utterances also in the held-out speech" in str(findings.error)


def test_the_second_row_of_an_id_is_a_duplicate(tmp_path: Path) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=4)
    first = write_manifest(tmp_path / "a.jsonl", [row | {"id": f"u{n % 3}"} for n, row in enumerate(rows)])
    write_manifest(tmp_path / "b.jsonl", [rows[1] | {"id": "u0"}, rows[3] | {"id": "new"}])
    settings = settings_for(tmp_path / "*.jsonl", tmp_path / "out", max_rejected_share=0.5)

    prepare(settings, tokenizer=TOKENIZER)

    quarantine = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [(Path(row["origin"]).name, row["reason"], row["detail"]) for row in quarantine] == [
        ("a.jsonl:4", "duplicate-id", f"same id as {first}:1"),
        ("b.jsonl:1", "duplicate-id", f"same id as {first}:1"),
    ]


def test_other_rates_are_resampled_once_and_other_formats_kept(tmp_path: Path) -> None:
    (tmp_path / "wide.flac").write_bytes(encode_flac(noise(1.0)[:15_999], sample_rate=44_100))
    (tmp_path / "right.flac").write_bytes(encode_flac(noise(1.0)))
    row = {"text": "Ναι.", "lang": "el-GR"}
    manifest = write_manifest(
        tmp_path / "m.jsonl",
        [
            row | {"audio_filepath": "wide.flac", "duration": 15_999 / 44_100, "id": "wide"},
            row | {"audio_filepath": "right.flac", "duration": 1.0, "id": "right"},
        ],
    )
    prepare(settings_for(manifest, tmp_path / "out"), tokenizer=TOKENIZER)

    catalog = Catalog.read(tmp_path / "out" / "catalog.parquet")
    audio = {each.id: each.audio for each in read_utterances(tmp_path / "out", addresses(catalog.table))}

    assert audio["right"] == (tmp_path / "right.flac").read_bytes()
    assert len(decode_pcm16(audio["wide"])) == round(15_999 * 16_000 / 44_100)


def test_sources_stay_inside_the_folder(tmp_path: Path) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=3)
    sources = ["../../escape", "..", "a/b"]
    manifest = write_manifest(
        tmp_path / "m.jsonl", [row | {"source": source} for row, source in zip(rows, sources, strict=True)]
    )

    prepare(settings_for(manifest, tmp_path / "data" / "out"), tokenizer=TOKENIZER)

    written = set(tmp_path.rglob("part-*.parquet"))
    assert len(written) == 3
    assert {path.parent.parent for path in written} == {tmp_path / "data" / "out" / "shards" / "el-GR"}


def test_all_formats_are_prepared_at_once(tmp_path: Path) -> None:
    corpora, texts = [], set()
    for name, write in WRITERS.items():
        spoken = clips(7, prefix=name)
        corpora.append(write(tmp_path / name, spoken))
        texts |= {(corpora[-1].source, clip.text) for clip in spoken}
    settings = PrepareSettings(
        corpora=corpora, out=tmp_path / "out", utterances_per_shard=4, utterances_per_row_group=2
    )

    summary = prepare(settings, tokenizer=TOKENIZER)

    catalog = Catalog.read(tmp_path / "out" / "catalog.parquet")
    found = read_utterances(tmp_path / "out", addresses(catalog.table))
    assert (summary.utterances, summary.num_rejected) == (len(texts), 0)
    assert {(each.source, each.text) for each in found} == texts
    assert {each.locale for each in found} == {"el-GR"}
    for each in found:
        assert len(decode_pcm16(each.audio)) == round(each.duration_s * 16_000)
    assert prepare(settings, tokenizer=TOKENIZER).reused


def test_a_block_is_read_once_for_all_its_rows_in_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_hf_parquet(tmp_path, clips(12), rows_per_group=4)
    files = corpus_files([corpus])
    checks, reads = CheckSettings(), []
    tables = [
        survey(span, files=files, file=0, checks=checks, tokenizer=TOKENIZER)
        for span in hf_parquet.split(files[0].path, rows_per_span=256)
    ]
    layout = lay_out(pa.concat_tables(tables), utterances_per_shard=6, utterances_per_row_group=3)
    read = hf_parquet.read
    monkeypatch.setattr(hf_parquet, "read", lambda span, **rest: reads.append(span) or read(span, **rest))

    written = [list(shards._read_again(shard, files=files)) for shard in by_shard(layout)]

    assert [len(each) for each in written] == [6, 6]
    # Three blocks of four rows over two shards: the middle one is in both.
    assert [span.stop - span.start for span in reads] == [4] * 4


@pytest.mark.parametrize("stage", ["check", "write"])
def test_a_failure_of_a_whole_file_reaches_the_caller_as_it_is(
    tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_nemo_tarred(tmp_path, clips(2), num_shards=1)
    tar = tmp_path / "audio_0.tar"
    if stage == "check":
        tar.write_bytes(b"no tar at all" * 100)
    survey_all = shards._survey_all

    def survey_then_break(*arguments: object, **keywords: object) -> object:
        surveyed = survey_all(*arguments, **keywords)  # type: ignore[arg-type]
        tar.write_bytes(b"no tar at all" * 100)
        return surveyed

    monkeypatch.setattr(shards, "_survey_all", survey_then_break)
    settings = PrepareSettings(corpora=[corpus], out=tmp_path / "out")

    with pytest.raises(DataError, match=r"audio_0\.tar: cannot be read as a tar file") as caught:
        prepare(settings, tokenizer=TOKENIZER)

    assert "gunzip" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        prepare(settings_for(manifest, tmp_path), tokenizer=TOKENIZER)

    assert (tmp_path / "thesis.txt").exists()


def test_a_stop_while_writing_leaves_no_trace_and_the_old_result(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(settings_for(manifest, out), tokenizer=TOKENIZER)
    before = content_of(out)

    def stop(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "_write_catalog", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings_for(manifest, out, max_duration_s=30.0), tokenizer=TOKENIZER)

    assert content_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_kill_between_the_two_renames_costs_nothing(
    manifest: Path, bad_manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data" / "out"
    good = settings_for(manifest, out)
    prepare(good, tokenizer=TOKENIZER)
    out.rename(out.with_name(".out.replaced"))

    with pytest.raises(DataError):
        prepare(settings_for(bad_manifest, out), tokenizer=TOKENIZER)

    assert prepare(good, tokenizer=TOKENIZER).reused
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_a_killed_preparation_left_is_cleared_away(manifest: Path, tmp_path: Path) -> None:
    leftover = tmp_path / ".out.partial" / "shards" / "el-GR" / "radio" / "part-00099.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half a shard")

    prepare(settings_for(manifest, tmp_path / "out"), tokenizer=TOKENIZER)

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").rglob("part-00099.parquet"))


def test_audio_that_changes_between_checking_and_writing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_corpus(tmp_path, locale="el-GR", count=3)
    manifest = write_manifest(tmp_path / "m.jsonl", rows)
    survey_all = shards._survey_all

    def survey_then_replace(*arguments: object, **keywords: object) -> object:
        surveyed = survey_all(*arguments, **keywords)  # type: ignore[arg-type]
        (tmp_path / str(rows[1]["audio_filepath"])).write_bytes(encode_flac(noise(1.0, seed=99)))
        return surveyed

    monkeypatch.setattr(shards, "_survey_all", survey_then_replace)

    with pytest.raises(DataError, match=r"m\.jsonl:2"):
        prepare(settings_for(manifest, tmp_path / "out"), tokenizer=TOKENIZER)

    assert not (tmp_path / "out").exists()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_every_task_of_a_preparation_is_placed_by_its_labels(caplog: pytest.LogCaptureFixture) -> None:
    before = ray.data.DataContext.get_current().execution_options.label_selector
    with shards._ray_data_context({"pool": "cpu"}):
        options = ray.data.DataContext.get_current().execution_options
        assert options.label_selector == {"pool": "cpu"}
    assert ray.data.DataContext.get_current().execution_options.label_selector == before
    assert "no node of the cluster has the labels" in caplog.text
