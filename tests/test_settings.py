"""Rules between fields: a configuration that cannot run is refused before anything starts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from asr_ray.config import Settings, dump, load
from asr_ray.errors import ConfigError
from asr_ray.settings import (
    DemoSettings,
    EvaluateSettings,
    MixSettings,
    PrepareSettings,
    ResourceSettings,
    TrainSettings,
)

TRAIN = ("run_dir=r", "data.train=t", "data.validation=v", "model.base=tiny", "validation.targets=[el-GR]")
PREPARE = ("out=o", "corpora=[{path: m.jsonl, source: radio}]")
EVALUATE = ("models={base: tiny}", "data=d", "out=o")


def refused(schema: type[Settings], *sets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, schema=schema, sets=sets)
    return caught.value.message


@pytest.mark.parametrize(
    ("schema", "sets"),
    [(TrainSettings, TRAIN), (PrepareSettings, PREPARE), (EvaluateSettings, EVALUATE), (DemoSettings, ())],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_must_be_given_is_enough(schema: type[Settings], sets: Sequence[str]) -> None:
    load(None, schema=schema, sets=sets)

    for left_out in sets:
        key = left_out.partition("=")[0]
        # The first part names the section when the whole section is missing.
        assert key.split(".")[0] in refused(schema, *(each for each in sets if each != left_out))


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["optim.min_lr=0.1", "optim.peak_lr=0.01"], "min_lr 0.1 is above peak_lr 0.01"),
        (["optim.warmup_steps=100", "max_steps=100"], "optim.warmup_steps 100 must be below max_steps 100"),
        (
            ["optim.schedule=wsd", "optim.decay_share=0.9", "max_steps=200", "optim.warmup_steps=50"],
            "optim.warmup_steps 50 and the 180 steps of optim.decay_share are more than max_steps 200",
        ),
        (["optim.accumulate=2", "optim.global_batch_s=960"], "accumulate and global_batch_s; choose one"),
        (
            ["model.new_locales={se-NO: {}}", "model.lora={adapters_only: true}"],
            "so se-NO would never be learned",
        ),
        (["model.lora={}", "model.freeze=encoder"], "leaves no layer to correct"),
        (
            [f"model.base={{hf: a/b, revision: {'a' * 40}, sha256: {'b' * 64}}}", f"model.sha256={'b' * 64}"],
            "sha256 stands inside of base",
        ),
        (["validation.guards=[en-US, el-GR]"], "el-GR is a target and a guard"),
        (["data.mix.replay={locales: [en-US, el-GR]}"], "data.mix.replay.locales: el-GR is a target"),
        (
            ["data.mix.schedule=[{from_step: 9, replay: {locales: [el-GR]}}]"],
            "data.mix.replay.locales: el-GR is a target",
        ),
        (
            ["data.mix.schedule=[{from_step: 9, alpha: 0}, {from_step: 9, alpha: 1}]"],
            "from_step must rise from entry to entry, got [9, 9]",
        ),
        (["data.mix.schedule=[{from_step: 9}]"], "from_step 9: changes nothing"),
        (
            ["data.mix.schedule=[{from_step: 9, alpha: 0, ratios: {el-GR: 1}}]"],
            "from_step 9: gives ratios and alpha",
        ),
        (
            ["max_steps=200", "data.mix.schedule=[{from_step: 200, alpha: 0}]"],
            "from_step 200 is never reached, max_steps is 200",
        ),
        (["data.mix.ratios={el-GR/: 1}"], "'el-GR/' names no source"),
        (["resources.gpus_per_worker=0.5", "resources.num_workers=2"], "two ranks on one GPU"),
        (["resources.gpus_per_worker=0.5", "resources.num_workers=[1, 2]"], "two ranks on one GPU"),
        (["resources.num_workers=[3, 2]"], "give [fewest, most]"),
    ],
)
def test_rules_between_fields(sets: list[str], says: str) -> None:
    assert says in refused(TrainSettings, *TRAIN, *sets)


def test_workers_may_be_a_range() -> None:
    def resources(given: str) -> ResourceSettings:
        sets = [*TRAIN, f"resources.num_workers={given}"]
        return load(None, schema=TrainSettings, sets=sets).settings.resources

    assert (resources("3").min_workers, resources("3").max_workers) == (3, 3)
    assert resources("3").ranks_in_words == "3 ranks"
    elastic = resources("[2, 8]")
    assert (elastic.min_workers, elastic.max_workers) == (2, 8)
    assert elastic.ranks_in_words == "8 ranks (the most; 2 are enough)"


@pytest.mark.parametrize(
    "sets",
    [
        ["optim.min_lr=0.01", "optim.peak_lr=0.01"],
        ["optim.warmup_steps=99", "max_steps=100"],
        ["optim.warmup_steps=0", "max_steps=1"],
        ["validation.guards=[en-US]", "data.mix.replay={locales: [en-US]}"],
    ],
)
def test_the_edges_of_the_rules_are_allowed(sets: list[str]) -> None:
    load(None, schema=TrainSettings, sets=[*TRAIN, *sets])


@pytest.mark.parametrize(
    ("schema", "sets", "key"),
    [
        (TrainSettings, [*TRAIN, "validation.targets=[el-GK]"], "validation.targets.0"),
        (TrainSettings, [*TRAIN, "validation.guards=[en-US, el-GK]"], "validation.guards.1"),
        (TrainSettings, [*TRAIN, "data.mix.ratios={el-GK: 1}"], "data.mix.ratios"),
        (TrainSettings, [*TRAIN, "data.mix.ratios={el-GK/radio: 1}"], "data.mix.ratios"),
        (TrainSettings, [*TRAIN, "data.mix.replay.locales=[el-GK]"], "data.mix.replay.locales.0"),
        (EvaluateSettings, [*EVALUATE, "locales=[el-GK]"], "locales.0"),
        (PrepareSettings, ["out=o", "corpora=[{path: m, source: s, locale: el-GK}]"], "corpora.0.locale"),
    ],
)
def test_an_unknown_locale_is_refused_with_the_nearest(
    schema: type[Settings], sets: list[str], key: str
) -> None:
    message = refused(schema, *sets)
    assert message.startswith(key)
    assert "unknown locale 'el-GK', did you mean 'el-GR'?" in message


def test_a_locale_that_the_configuration_adds_is_known_to_all_its_keys() -> None:
    sets = [
        "model.new_locales={se-NO: {like: fi-FI}, sma-NO: {slot: 72, like: se-NO}}",
        "validation.targets=[se-NO]",
        "data.mix.ratios={se-NO/radio: 2, fi-FI: 1}",
        "data.mix.schedule=[{from_step: 9, ratios: {sma-NO: 1}}]",
    ]
    settings = load(None, schema=TrainSettings, sets=[*TRAIN, *sets]).settings
    # As workers get them, and as the run keeps them.
    assert TrainSettings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.data.mix.stages()[1][1].ratios == {"sma-NO": 1}
    message = refused(TrainSettings, *TRAIN, *sets, "validation.guards=[se-NQ]")
    assert "unknown locale 'se-NQ', did you mean 'se-NO'?" in message


def test_preparation_and_evaluation_know_the_locales_that_a_model_is_given() -> None:
    corpora = "corpora=[{path: m, source: s, locale: se-NO}]"
    prepare = load(None, schema=PrepareSettings, sets=["out=o", corpora, "checks.new_locales=[se-NO]"])
    assert prepare.settings.corpora[0].locale == "se-NO"
    evaluate = ["locales=[se-NO]", "guards=[el-GR]", "data={a: {path: m, source: s, locale: se-NO}}"]
    load(None, schema=EvaluateSettings, sets=[*EVALUATE, "new_locales=[se-NO]", *evaluate])
    assert "unknown locale 'se-NO'" in refused(EvaluateSettings, *EVALUATE, *evaluate)
    assert "unknown locale 'se-NO'" in refused(PrepareSettings, "out=o", corpora)


def test_models_of_the_hub_are_pinned_wherever_a_model_is_named() -> None:
    pinned = f"{{hf: nvidia/model, revision: {'a' * 40}, sha256: {'b' * 64}}}"
    prepare = load(None, schema=PrepareSettings, sets=[*PREPARE, f"tokenizer={pinned}"]).settings
    evaluate = load(None, schema=EvaluateSettings, sets=[*EVALUATE, f"models.hub={pinned}"]).settings
    assert prepare.tokenizer == evaluate.models["hub"]
    assert str(prepare.tokenizer) == f"nvidia/model@{'a' * 12}"
    loose = "{hf: nvidia/model, revision: main, sha256: x}"
    assert "tokenizer.hub.revision" in refused(PrepareSettings, *PREPARE, f"tokenizer={loose}")
    assert "models.hub" in refused(EvaluateSettings, *EVALUATE, f"models.hub={loose}")


@pytest.mark.parametrize("tag", ["se", "se-no", "auto", "<se-NO>"])
def test_a_new_locale_is_written_as_its_tag(tag: str) -> None:
    assert "model.new_locales" in refused(TrainSettings, *TRAIN, f"model.new_locales={{{tag}: {{}}}}")


def test_the_prompt_for_any_language_is_no_locale() -> None:
    message = refused(TrainSettings, *TRAIN, "validation.guards=[auto]")
    assert message.startswith("validation.guards.0")
    assert "`auto` is a prompt, not a locale" in message


@pytest.mark.parametrize(
    "assignment",
    [
        "data.mix.alpha=1.5",
        "data.mix.ratios={el-GR: 0}",
        "data.mix.replay={share: 1.1, locales: [en-US]}",
        "data.mix.replay={locales: []}",
        "data.batch_s=0",
        "data.augment.speed={factors: []}",
        "data.augment.speed={factors: [0.1]}",
        "data.augment.noise={path: n, snr_db: [30, 5]}",
        "data.augment.noise={probability: 0.5}",
        "data.augment.codec={codecs: [amr]}",
        "data.augment.codec.compression=[0.5, 1.0]",
        "data.sources={radio: {prompt_mode: language}}",
        "data.prompt_mode=language",
        "model.auxiliary_ctc_weight=-0.1",
        "model.base={hf: nvidia/x, revision: main, sha256: aa}",
        f"model.base={{hf: nvidia/x, revision: {'a' * 40}}}",
        "model.sha256=aa",
        "model.spec_augment={time_width: 1.5}",
        "model.freeze=0",
        "model.freeze=decoder",
        "model.lora={rank: 0}",
        "model.lora={targets: [convolution]}",
        "optim.rates={layer_decay: 1.1}",
        "optim.rates.encoder=0",
        "optim.schedule=noam",
        "optim.decay_share=0",
        "optim.betas=[0.9]",
        "optim.accumulate=0",
        "optim.clip_norm=0",
        "validation.targets=[]",
        "checkpoint.keep=1",
        "resources.num_workers=0",
        "resources.cpus_per_worker=0",
        "resources.gpus_per_worker=2",
        "precision=fp16",
    ],
)
def test_values_out_of_range_are_refused_by_their_key(assignment: str) -> None:
    key = assignment.partition("=")[0]
    assert refused(TrainSettings, *TRAIN, assignment).startswith(key)


def test_a_mistyped_key_of_a_corpus_is_refused() -> None:
    assert "corpora.0.pth" in refused(PrepareSettings, "out=o", "corpora=[{path: m, source: s, pth: x}]")


def test_an_entry_of_the_schedule_says_what_differs_from_the_mix_above_it() -> None:
    mix = MixSettings.model_validate(
        {
            "ratios": {"el-GR": 1},
            "max_passes": 4,
            "schedule": [
                {"from_step": 10, "alpha": 0.3},
                {"from_step": 20, "replay": {"share": 0.2, "locales": ["en-US"]}},
                {"from_step": 30, "ratios": {"el-GR/radio": 2}, "max_passes": 8},
            ],
        }
    )
    stages = dict(mix.stages())
    assert list(stages) == [0, 10, 20, 30]
    assert all(not stage.schedule for stage in stages.values())
    assert stages[0] == mix.model_copy(update={"schedule": []})
    assert (stages[10].ratios, stages[10].alpha, stages[10].max_passes) == (None, 0.3, 4)
    assert (stages[20].ratios, stages[20].alpha) == ({"el-GR": 1}, 0.5)
    assert stages[20].replay is not None
    assert stages[20].replay.locales == ["en-US"]
    assert (stages[30].ratios, stages[30].max_passes, stages[30].replay) == ({"el-GR/radio": 2}, 8, None)


def test_an_entry_from_the_first_step_on_takes_the_place_of_the_mix() -> None:
    mix = MixSettings.model_validate({"schedule": [{"from_step": 0, "alpha": 0.3}]})
    assert [(step, stage.alpha) for step, stage in mix.stages()] == [(0, 0.3)]


def test_a_written_schedule_is_read_back_as_it_was() -> None:
    sets = ["data.mix.ratios={el-GR: 1}", "data.mix.schedule=[{from_step: 9, alpha: 0.2}]"]
    settings = load(None, schema=TrainSettings, sets=[*TRAIN, *sets]).settings
    again = TrainSettings.model_validate(yaml.safe_load(dump(settings)))
    assert again.data.mix.stages() == settings.data.mix.stages()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("data/test", ["test"]),
        ("data/test/catalog.parquet", ["test"]),
        ("fleurs/el.jsonl", ["el"]),
        ("{path: fleurs/el.jsonl, source: fleurs, locale: el-GR}", ["fleurs"]),
        ("{a: data/test, b: {path: x.json, source: y}}", ["a", "b"]),
    ],
)
def test_test_sets_are_one_or_several_by_name(given: str, names: list[str]) -> None:
    settings = load(None, schema=EvaluateSettings, sets=[*EVALUATE, f"data={given}"]).settings
    assert list(settings.data) == names
    # As written down with a run, and read again.
    assert EvaluateSettings.model_validate(yaml.safe_load(dump(settings))) == settings


def test_contexts_and_modes_are_one_or_several() -> None:
    one = load(None, schema=EvaluateSettings, sets=[*EVALUATE, "att_context_size=[56, 13]", "mode=streaming"])
    assert (one.settings.att_context_size, one.settings.mode) == ([(56, 13)], ["streaming"])
    sets = [*EVALUATE, "att_context_size=[[56, 0], [56, 13]]", "mode=[offline, streaming]"]
    several = load(None, schema=EvaluateSettings, sets=sets)
    assert several.settings.att_context_size == [(56, 0), (56, 13)]


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("att_context_size=[56, 2]", "not a multiple of the chunk of 3 frames"),
        ("att_context_size=[[56, 3], [56, 3]]", "name each value once"),
        ("mode=[]", "name each value once, and at least one"),
        ("data={../x: d}", "names become folders"),
        ("models={prepared: tiny}", "names become folders"),
    ],
)
def test_an_evaluation_that_cannot_run_is_refused(assignment: str, says: str) -> None:
    assert says in refused(EvaluateSettings, *EVALUATE, assignment)
