"""What is read from shards is what the plan says: window by window, step by step, rank by rank."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_ray.config import load
from asr_ray.data.audio import encode_flac
from asr_ray.data.catalog import Catalog
from asr_ray.data.plan import PlannedStep
from asr_ray.data.planned import PART_UTTERANCES, PlannedData, ResumePoint, mix_schedule
from asr_ray.errors import ConfigError, DataError
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS
from asr_ray.records import Batch, Position, PromptTable, Tokenizer
from asr_ray.settings import MixSettings, TrainSettings
from asr_ray.testing.fakes import FakeTokenizer
from asr_ray.testing.noise import noise
from asr_ray.testing.prepared import write_prepared

COUNTS = {("el-GR", "a"): 40, ("el-GR", "b"): 12, ("bg-BG", "a"): 28, ("en-US", "a"): 30}
CHARACTERS = FakeTokenizer()
TABLE = PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS)
START = ResumePoint(position=Position(), world_size=1, steps_taken=0)

Identity = tuple[Position, Position, tuple[str, ...]]
"""What tells a batch from every other: step, next step, utterances in order."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_prepared(folder, COUNTS, tokenizer=FakeTokenizer())
    return folder


def settings_for(root: Path, *sets: str) -> TrainSettings:
    """About five windows of some ten steps."""
    small = ("data.batch_s=3", "data.window_utterances=32", "max_steps=30", "optim.warmup_steps=1")
    given = (f"data.train={root}", "data.validation=v", "run_dir=r", "model.base=tiny")
    validation = ("validation.targets=[el-GR, bg-BG]",)
    return load(None, schema=TrainSettings, sets=[*given, *validation, *small, *sets]).settings


def build(
    settings: TrainSettings, *, tokenizer: Tokenizer = CHARACTERS, prompts: PromptTable = TABLE
) -> PlannedData:
    return PlannedData.build(settings, tokenizer=tokenizer, prompts=prompts)


@pytest.fixture(scope="module")
def planned(root: Path) -> PlannedData:
    return build(settings_for(root))


def read_all(
    planned: PlannedData, start: ResumePoint, *, world_size: int, utterances: int = PART_UTTERANCES
) -> list[Batch]:
    parts = planned.parts(start, world_size=world_size, utterances=utterances)
    return [batch for part in parts for batch in planned.reader.batches(part)]


def of_batches(batches: Sequence[Batch]) -> list[Identity]:
    return [(batch.position, batch.next_position, batch.ids) for batch in batches]


def of_plan(steps: Sequence[PlannedStep], *, root: Path) -> list[Identity]:
    ids = Catalog.read(root / "catalog.parquet", ids=True).table.column("id").to_pylist()
    return [
        (step.position, step.after, tuple(ids[row] for row in batch.tolist()))
        for step in steps
        for batch in step.batches
    ]


@pytest.mark.parametrize("utterances", [1, 7, 20])
def test_parts_of_any_size_hold_the_same_batches(planned: PlannedData, utterances: int) -> None:
    parts = list(planned.parts(START, world_size=2, utterances=utterances))
    whole = read_all(planned, START, world_size=2)

    assert of_batches(read_all(planned, START, world_size=2, utterances=utterances)) == of_batches(whole)
    assert len(parts) > len(list(planned.parts(START, world_size=2)))
    assert all(parts)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_what_is_read_is_the_plan_and_ends_with_the_run(
    planned: PlannedData, root: Path, world_size: int
) -> None:
    steps = list(itertools.islice(planned.plan.steps(Position(), world_size=world_size), 30))

    assert of_batches(read_all(planned, START, world_size=world_size)) == of_plan(steps, root=root)


@pytest.mark.parametrize("taken", [1, 7, 29])
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_resumed_run_reads_the_rest(planned: PlannedData, taken: int, world_size: int) -> None:
    whole = read_all(planned, START, world_size=world_size)
    stopped = ResumePoint(
        position=whole[taken * world_size].position, world_size=world_size, steps_taken=taken
    )

    rest = read_all(planned, stopped, world_size=world_size)

    assert of_batches(rest) == of_batches(whole[taken * world_size :])


def test_on_another_number_of_ranks_a_window_loses_nothing_and_repeats_nothing(planned: PlannedData) -> None:
    two_ranks = read_all(planned, START, world_size=2)
    taken = 1
    stopped = ResumePoint(position=two_ranks[2 * taken].position, world_size=2, steps_taken=taken)
    assert stopped.position.window == 0

    rest = read_all(planned, stopped, world_size=3)

    def first_window(batches: Sequence[Batch]) -> list[str]:
        return sorted(
            name for b in batches if (b.position.epoch, b.position.window) == (0, 0) for name in b.ids
        )

    assert first_window([*two_ranks[: 2 * taken], *rest]) == first_window(two_ranks)
    assert rest[0].position.earlier == ((2, taken),)
    assert len(rest) == 3 * (30 - taken)


def test_accumulation_reads_as_many_steps_more(root: Path) -> None:
    planned = build(settings_for(root, "optim.accumulate=2", "max_steps=4"))
    assert sum(steps for _, steps in planned.windows(START, world_size=2)) == 8


def test_it_travels_to_a_reading_task(planned: PlannedData) -> None:
    copy = pickle.loads(pickle.dumps(planned))

    assert copy.plan.digest == planned.plan.digest
    assert next(copy.parts(START, world_size=2)) == next(planned.parts(START, world_size=2))


def test_the_configured_mix_reaches_the_plan(root: Path) -> None:
    mix = ("data.mix.ratios={el-GR: 3, bg-BG: 1}", "data.mix.replay={share: 0.2, locales: [en-US]}")
    shares = build(settings_for(root, *mix)).mix.shares

    by_locale = {
        tag: sum(s for (t, _), s in shares.items() if t == tag) for tag in ("el-GR", "bg-BG", "en-US")
    }
    assert by_locale == pytest.approx({"el-GR": 0.6, "bg-BG": 0.2, "en-US": 0.2})


def test_the_repetition_cap_counts_the_seconds_of_the_whole_run(root: Path) -> None:
    """30 steps of 2 ranks may read 180 s; one pass over the corpus is some 44 s."""
    planned = build(settings_for(root, "data.mix.max_passes=1", "resources.num_workers=2"))

    assert planned.budget_s == 30 * 2 * 3.0
    assert [warning.concern for warning in planned.mix.warnings][-1] == "all-capped"


@pytest.mark.parametrize(
    "change", ["seed=2", "data.batch_s=4", "data.mix.alpha=0.9", "data.window_utterances=16"]
)
def test_whatever_decides_the_batches_changes_the_digest(
    planned: PlannedData, root: Path, change: str
) -> None:
    assert build(settings_for(root, change)).plan.digest != planned.plan.digest


def test_another_tokenizer_is_a_data_error(root: Path) -> None:
    with pytest.raises(DataError, match="tokens were counted with another tokenizer"):
        build(settings_for(root), tokenizer=FakeTokenizer(alphabet="abc"))


def test_a_locale_without_a_prompt_slot_is_named(root: Path) -> None:
    slots = {key: slot for key, slot in DEFAULT_PROMPT_SLOTS.items() if key not in ("bg-BG", "bg")}
    with pytest.raises(ConfigError, match="unknown locale 'bg-BG'"):
        build(settings_for(root), prompts=PromptTable(slots=slots, num_slots=NUM_PROMPT_SLOTS))


def test_a_position_of_another_plan_is_found_out(planned: PlannedData) -> None:
    beyond = ResumePoint(position=Position(0, 0, 10_000), world_size=1, steps_taken=1)
    with pytest.raises(DataError, match="no such step"):
        list(planned.windows(beyond, world_size=1))


def augmented(root: Path, *sets: str) -> PlannedData:
    """Everything at once for source a, nothing for source b."""
    if not (root / "noise").exists():
        (root / "noise").mkdir()
        (root / "noise" / "hum.flac").write_bytes(encode_flac(noise(0.1)))
    sections = (
        "data.augment.speed={factors: [0.8, 0.93, 1.2]}",
        f"data.augment.noise={{path: {root / 'noise'}, probability: 1.0}}",
        "data.augment.codec={probability: 0.5}",
        "data.sources.b={augment: {}}",
    )
    return build(settings_for(root, *sections, *sets))


def samples_by_use(batches: Sequence[Batch]) -> dict[tuple[str, int], bytes]:
    """(id, how manieth time) -> audio, without the padding."""
    found: dict[tuple[str, int], bytes] = {}
    for batch in batches:
        for name, row, length in zip(batch.ids, batch.audio, batch.num_samples, strict=True):
            times = sum(known == name for known, _ in found)
            found[name, times] = row[:length].tobytes()
    return found


def test_a_batch_holds_exactly_the_samples_it_was_planned_with(root: Path) -> None:
    planned = augmented(root)
    steps = itertools.islice(planned.plan.steps(Position(), world_size=2), 30)
    expected = [planned.plan.num_samples(uses).tolist() for step in steps for uses in step.uses]
    batches = read_all(planned, START, world_size=2)

    assert [batch.num_samples.tolist() for batch in batches] == expected
    assert max(batch.audio.size for batch in batches) <= 3 * 16_000
    recorded = {name: seconds for b in batches for name, seconds in zip(b.ids, b.durations_s, strict=True)}
    catalog = Catalog.read(root / "catalog.parquet", ids=True)
    in_catalog = dict(zip(catalog.ids(np.arange(len(catalog))), catalog.durations_s.tolist(), strict=True))
    assert recorded == pytest.approx({name: in_catalog[name] for name in recorded})


def test_a_use_sounds_alike_on_any_number_of_ranks_and_after_a_restart(root: Path) -> None:
    planned = augmented(root)
    whole = read_all(planned, START, world_size=1)

    def first_two_windows(batches: Sequence[Batch]) -> Counter[tuple[str, bytes]]:
        early = [b for b in batches if b.position.epoch == 0 and b.position.window < 2]
        return Counter((name, audio) for (name, _), audio in samples_by_use(early).items())

    on_one, on_two = (
        first_two_windows(batches) for batches in (whole, read_all(planned, START, world_size=2))
    )
    assert on_one == on_two
    assert on_one.total() >= 48

    stopped = ResumePoint(position=whole[7].position, world_size=1, steps_taken=7)
    for one, other in zip(read_all(planned, stopped, world_size=1), whole[7:], strict=True):
        assert np.array_equal(one.audio, other.audio)


def test_each_pass_is_augmented_anew_and_excepted_sources_never(root: Path) -> None:
    planned = augmented(root, "data.mix.ratios={el-GR: 1}")
    plain = build(settings_for(root, "data.mix.ratios={el-GR: 1}"))
    heard = samples_by_use(read_all(planned, START, world_size=1))
    said = {name: audio for (name, _), audio in samples_by_use(read_all(plain, START, world_size=1)).items()}
    again = [name for name, times in heard if times == 1]
    assert any("-a-" in name for name in again)
    for name, times in heard:
        if "-b-" in name:
            assert heard[name, times] == said[name]
        else:
            assert heard[name, times] != said[name]
        if times == 1 and "-a-" in name:
            assert heard[name, 0] != heard[name, 1]


def test_without_augmentation_the_batches_are_what_the_shards_hold(root: Path, planned: PlannedData) -> None:
    switched_off = build(settings_for(root, "data.augment={}", "data.sources={a: {augment: {}}}"))
    assert switched_off.plan.digest == planned.plan.digest
    assert not switched_off.assembler.augmenters
    for one, other in zip(
        read_all(switched_off, START, world_size=2), read_all(planned, START, world_size=2), strict=True
    ):
        assert np.array_equal(one.audio, other.audio)


def test_a_source_may_have_a_prompt_mode_of_its_own(root: Path) -> None:
    planned = build(settings_for(root, "data.sources.b.prompt_mode=auto"))
    batches = read_all(planned, START, world_size=1)
    auto = {
        source: {
            slot == TABLE.auto_slot
            for b in batches
            for s, slot in zip(b.sources, b.prompt_slots, strict=True)
            if s == source
        }
        for source in "ab"
    }
    assert auto == {"a": {False}, "b": {True}}


def test_an_unknown_source_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.sources names 'c'"):
        build(settings_for(root, "data.sources.c.prompt_mode=auto"))


SCHEDULE = (
    "data.mix.ratios={el-GR: 1}",
    "data.mix.schedule=[{from_step: 8, alpha: 0.0}, {from_step: 20, ratios: {bg-BG/a: 1, el-GR: 1}}]",
)


def resumed_at(batch: Batch, planned: PlannedData, *, world_size: int, steps_taken: int) -> ResumePoint:
    """As a checkpoint that was committed before the step of `batch` would say."""
    return ResumePoint(
        position=batch.position, world_size=world_size, steps_taken=steps_taken, mixes=planned.mixes_by_name
    )


def read_on(planned: PlannedData, start: ResumePoint, *, world_size: int) -> list[Batch]:
    return read_all(pickle.loads(pickle.dumps(planned.continuing(start))), start, world_size=world_size)


def marks(batches: Sequence[Batch]) -> tuple[tuple[int, str], ...]:
    return batches[-1].position.mixes


@pytest.mark.parametrize("taken", [1, 9, 13, 22, 29])
def test_a_run_under_a_schedule_is_resumed_exactly(root: Path, taken: int) -> None:
    planned = build(settings_for(root, *SCHEDULE))
    whole = read_all(planned, START, world_size=1)
    assert [name for _, name in marks(whole)] == [mix.name for mix in planned.plan.schedule]

    rest = read_on(planned, resumed_at(whole[taken], planned, world_size=1, steps_taken=taken), world_size=1)

    assert of_batches(rest) == of_batches(whole[taken:])
    assert marks(rest) == marks(whole)


def test_the_schedule_counts_updates(root: Path) -> None:
    sets = ("optim.accumulate=3", "max_steps=30")
    planned = build(settings_for(root, *SCHEDULE, *sets))
    assert [mix.from_step for mix in planned.plan.schedule] == [0, 24, 60]
    assert [step for step, _ in planned.mixes] == [0, 8, 20]


def test_the_mix_of_a_run_may_be_changed_while_it_stands(root: Path) -> None:
    before = build(settings_for(root, "data.mix.ratios={el-GR: 1}"))
    stopped = resumed_at(read_all(before, START, world_size=1)[3], before, world_size=1, steps_taken=3)
    after = build(settings_for(root, "data.mix.ratios={bg-BG: 1}"))
    assert after.plan.place_digest == before.plan.place_digest

    rest = read_on(after, stopped, world_size=1)

    old_window = [batch for batch in rest if len(batch.position.mixes) == 1]
    unchanged = read_all(before, stopped, world_size=1)
    assert of_batches(old_window) == of_batches(unchanged[: len(old_window)])
    assert {tag for batch in old_window for tag in batch.locales} == {"el-GR"}
    new_windows = rest[len(old_window) :]
    assert new_windows
    assert {tag for batch in new_windows for tag in batch.locales} == {"bg-BG"}
    # And once more, from inside the new mix, with what the checkpoint has gathered by then.
    known = before.mixes_by_name | after.mixes_by_name
    again = replace(resumed_at(rest[-1], after, world_size=1, steps_taken=29), mixes=known)
    assert of_batches(read_on(after, again, world_size=1)) == of_batches(rest[-1:])


def test_a_mix_that_nobody_remembers_is_refused(root: Path) -> None:
    planned = build(settings_for(root))
    batch = read_all(planned, START, world_size=1)[3]
    lost = ResumePoint(position=batch.position, world_size=1, steps_taken=3)
    assert of_batches(read_on(planned, lost, world_size=1))[0] == of_batches([batch])[0]
    with pytest.raises(DataError, match="of which nothing is known"):
        build(settings_for(root, "data.mix.alpha=0.9")).continuing(lost)


def test_the_cap_holds_over_the_mixes_of_a_schedule() -> None:
    """100 h of training in two halves: what the first gives of a source is missing in the second."""
    hour = 3600.0
    seconds = {("el-GR", "a"): 30 * hour, ("bg-BG", "a"): 10 * hour, ("en-US", "a"): 500 * hour}
    mix = MixSettings.model_validate(
        {
            "alpha": 0.0,
            "max_passes": 2,
            "schedule": [{"from_step": 50, "ratios": {"bg-BG": 1, "el-GR": 1, "en-US": 1}}],
        }
    )
    stages = mix_schedule(mix, seconds, num_steps=100, budget_s=100 * hour)
    assert [step for step, _ in stages] == [0, 50]
    given = {key: sum(mix.shares[key] * 50 * hour for _, mix in stages) for key in seconds}
    assert given[("bg-BG", "a")] == pytest.approx(20 * hour)
    assert sum(given.values()) == pytest.approx(100 * hour)
    assert stages[0][1].shares[("bg-BG", "a")] == pytest.approx(1 / 3)
    assert stages[1][1].shares[("bg-BG", "a")] == pytest.approx(20 / 50 - 1 / 3)


def test_alpha_of_sources_reaches_the_mix() -> None:
    seconds = {("el-GR", "a"): 9.0, ("el-GR", "b"): 1.0}
    for tree, expected in (
        ({"alpha": 0.0}, 0.5),
        ({"alpha": 0.0, "source_alpha": 1.0}, 0.9),
        ({"ratios": {"el-GR": 1}}, 0.9),
        ({"ratios": {"el-GR": 1}, "source_alpha": 0.5}, 0.75),
    ):
        ((_, mix),) = mix_schedule(MixSettings.model_validate(tree), seconds, num_steps=1, budget_s=1.0)
        assert mix.shares[("el-GR", "a")] == pytest.approx(expected)
