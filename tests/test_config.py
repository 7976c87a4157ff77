"""Layers of YAML and overrides become one settings object that knows where each value came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asr_ray.config import Settings, describe, dump, load
from asr_ray.errors import ConfigError


class Optim(Settings):
    peak_lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)


class Replay(Settings):
    share: float = 0.3
    locales: list[str] = []


class Run(Settings):
    run_dir: Path
    name: str = "run"
    steps: int = 100
    optim: Optim = Optim()
    replay: Replay | None = None
    ratios: dict[str, float] | None = None


Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a YAML file below the temporary folder and return its path."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def test_later_layers_win_and_leave_the_rest_alone(write: Write) -> None:
    write("base.yaml", "run_dir: runs/a\nsteps: 5\noptim: {peak_lr: 0.1, betas: [0.5, 0.6]}\n")
    write("sub/middle.yaml", "base: ../base.yaml\noptim: {peak_lr: 0.2}\nname: middle\n")
    path = write("sub/run.yaml", "base: middle.yaml\nname: top\n")

    settings = load(path, schema=Run, sets=["optim.betas=[0.7, 0.8]"]).settings

    assert settings == Run(
        run_dir=Path("runs/a"), name="top", steps=5, optim=Optim(peak_lr=0.2, betas=(0.7, 0.8))
    )


def test_without_a_file_the_defaults_and_overrides_stand() -> None:
    assert load(None, schema=Run, sets=["run_dir=x"]).settings == Run(run_dir=Path("x"))


def test_the_last_of_two_overrides_wins() -> None:
    assert load(None, schema=Run, sets=["run_dir=x", "steps=1", "steps=2"]).settings.steps == 2


@pytest.mark.parametrize("lines", [["a.yaml", "b.yaml"], ["a.yaml"]])
def test_a_circle_of_bases_is_named(write: Write, lines: list[str]) -> None:
    for name, base in zip(lines, [*lines[1:], lines[0]], strict=True):
        write(name, f"base: {base}\n")
    path = write("top.yaml", "base: a.yaml\n")

    with pytest.raises(ConfigError, match=r"circular base: .*top\.yaml -> .*a\.yaml"):
        load(path, schema=Run)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("run_dir: [", "not valid YAML"),
        ("- run_dir\n", "top level is a list"),
        ("base: absent.yaml\n", r"absent\.yaml: no such configuration file"),
    ],
)
def test_an_unreadable_file_is_named(write: Write, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(write("run.yaml", text), schema=Run)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: not valid YAML"):
        load(tmp_path / "latin.yaml", schema=Run)


@pytest.mark.parametrize("written", ["3e-4", "0.0003", "3.0e-4"])
def test_learning_rates_may_be_written_as_people_do(write: Write, written: str) -> None:
    by_flag = load(None, schema=Run, sets=["run_dir=x", f"optim.peak_lr={written}"])
    by_file = load(write("run.yaml", f"run_dir: x\noptim: {{peak_lr: {written}}}\n"), schema=Run)

    assert by_flag.settings.optim.peak_lr == by_file.settings.optim.peak_lr == 3e-4


def test_a_name_that_looks_like_a_number_stays_a_name() -> None:
    assert load(None, schema=Run, sets=["run_dir=x", "name=12e34"]).settings.name == "12e34"


@pytest.mark.parametrize("assignment", ["steps", "=3", "optim.=3", ".steps=3", "steps=[1"])
def test_a_malformed_override_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load(None, schema=Run, sets=["run_dir=x", assignment])


def test_an_unknown_key_names_the_file_and_the_nearest_key(write: Write) -> None:
    write("base.yaml", "run_dir: x\noptim: {peek_lr: 0.1}\n")
    path = write("run.yaml", "base: base.yaml\n")

    with pytest.raises(ConfigError, match=r"base\.yaml: unknown key optim\.peek_lr") as caught:
        load(path, schema=Run)
    assert caught.value.fix == "did you mean optim.peak_lr?"


def test_an_unknown_key_inside_an_optional_section_is_found() -> None:
    with pytest.raises(ConfigError, match=r"--set replay\.sharre=1: unknown key replay\.sharre") as caught:
        load(None, schema=Run, sets=["run_dir=x", "replay.sharre=1"])
    assert caught.value.fix == "did you mean replay.share?"


def test_a_key_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, schema=Run, sets=["zzzzzzzz=1"])
    assert "run_dir, name, steps, optim, replay, ratios" in caught.value.fix


def test_a_bad_value_names_key_value_and_origin(write: Write) -> None:
    path = write("run.yaml", "run_dir: x\nsteps: many\n")

    with pytest.raises(ConfigError) as caught:
        load(path, schema=Run, sets=["optim.peak_lr=fast"])

    of_file, of_flag = caught.value.message.splitlines()
    assert of_file.startswith("steps: ")
    assert of_file.endswith(f"(got 'many') [{path}]")
    assert of_flag.startswith("optim.peak_lr: ")
    assert of_flag.endswith("(got 'fast') [--set]")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="run_dir: Field required"):
        load(None, schema=Run)


def test_describe_shows_every_value_with_its_origin(write: Write) -> None:
    write("base.yaml", "run_dir: x\nratios: {el-GR: 2.0}\n")
    path = write("run.yaml", "base: base.yaml\nname: Ελληνικά\n")

    lines = describe(load(path, schema=Run, sets=["optim.betas=[0.1, 0.2]"])).splitlines()

    shown = {line.split(" = ")[0]: tuple(line.split(" = ")[1].split("  # ")) for line in lines}
    assert {key: (value.strip(), Path(origin).name) for key, (value, origin) in shown.items()} == {
        "run_dir": ("x", "base.yaml"),
        "name": ("Ελληνικά", "run.yaml"),
        "steps": ("100", "default"),
        "optim.peak_lr": ("0.0001", "default"),
        "optim.betas": ("[0.1, 0.2]", "--set"),
        "replay": ("null", "default"),
        "ratios.el-GR": ("2.0", "base.yaml"),
    }


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Run(run_dir=Path("x")).steps = 3  # type: ignore[misc]  # what is tested


# YAML counts rare control characters as line breaks; no name holds one.
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
runs = st.builds(
    Run,
    run_dir=st.text("abc/0123-_. ", min_size=1).map(Path),
    name=names,
    steps=st.integers(),
    optim=st.builds(Optim, peak_lr=finite, betas=st.tuples(finite, finite)),
    replay=st.none() | st.builds(Replay, share=finite, locales=st.lists(names)),
    ratios=st.none() | st.dictionaries(names, finite),
)


@given(settings=runs)
def test_what_dump_writes_load_reads_back(settings: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump(settings), encoding="utf-8")

    assert load(path, schema=Run).settings == settings


SECTIONS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text("abc", min_size=1),
    "steps": st.integers(),
    "optim": st.fixed_dictionaries(
        {}, optional={"peak_lr": finite, "betas": st.tuples(finite, finite).map(list)}
    ),
}


@given(layers=st.lists(st.fixed_dictionaries({}, optional=SECTIONS), min_size=1, max_size=4))
def test_each_value_is_that_of_the_last_layer_that_sets_it(
    layers: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for number, layer in enumerate(layers):
        base = {"base": f"layer-{number - 1}.yaml"} if number else {"run_dir": "x"}
        (folder / f"layer-{number}.yaml").write_text(yaml.safe_dump(base | layer))

    loaded = load(folder / f"layer-{len(layers) - 1}.yaml", schema=Run)

    for key in ("name", "steps"):
        setters = [number for number, layer in enumerate(layers) if key in layer]
        expected = layers[setters[-1]][key] if setters else Run.model_fields[key].default
        assert getattr(loaded.settings, key) == expected
        origin = loaded.origins.get(key)
        assert origin == (str(folder / f"layer-{setters[-1]}.yaml") if setters else None)
    rates = [layer["optim"]["peak_lr"] for layer in layers if "peak_lr" in layer.get("optim", {})]
    assert loaded.settings.optim.peak_lr == (rates[-1] if rates else 1e-4)
