"""Imports go one way, heavy libraries stay where they belong; read from the source, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "asr_ray"
LIBRARY = sorted(PACKAGE.rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))

MAY_IMPORT = {
    "core": {"core"},
    # Pages and drawings, which know nothing of what is reported: data and evaluation both draw with them.
    "report": {"core", "report"},
    "data": {"core", "report", "data"},
    "model": {"core", "model"},
    "evaluate": {"core", "report", "data", "model", "evaluate"},
    "train": {"core", "report", "data", "model", "evaluate", "train"},
    "sweep": {"core", "report", "data", "model", "evaluate", "train", "sweep"},
    # Looks at machines, not at runs.
    "doctor": {"core", "data", "model", "doctor"},
    "testing": {"core", "report", "data", "model", "evaluate", "train", "sweep", "testing"},
}
"""Layer -> layers of this package that it may know."""

CORE_PACKAGES = {"settings"}
"""Packages of the core; all else of it are single modules."""

MAY_IMPORT_RAY = {
    "data/shards.py",
    "data/feed.py",
    "train/run.py",
    "train/vigil.py",
    "train/worker.py",
    "evaluate/pool.py",
    "sweep/run.py",
    "sweep/tuner.py",
    "doctor/cluster.py",
}

LIGHT = ("torch", "nemo", "ray", "numba", "transformers", "lhotse", "pandas", "matplotlib")
"""What neither the core nor anything that decides on metadata may import, not even late."""

ABOUT_DATA = (
    "mix",
    "plan",
    "plan_checks",
    "plan_summary",
    "batching",
    "catalog",
    "row_order",
    "step_order",
    "augment/speed",
    "planned",
)

ABOUT_SCORES = (
    "policies",
    "normalise",
    "number_words",
    "leaderboard",
    "counts",
    "writing",
    "tags",
    "bootstrap",
    "paired",
    "score",
    "slices",
    "confusions",
)

ABOUT_SWEEPS = (
    "ranges",
    "space",
    "records",
    "mixes",
    "room",
    "forecast",
    *(
        f"deciding/{name}"
        for name in (
            "counts",
            "candidates",
            "decision",
            "wording",
            "response",
            "proxy",
            "advice",
            "conclude",
        )
    ),
    *(f"searching/{name}" for name in ("halving", "search", "population")),
)

DECIDING = (
    *(f"evaluate/scoring/{name}.py" for name in ABOUT_SCORES),
    *(f"data/{name}.py" for name in ABOUT_DATA),
    *(
        f"data/{name}.py"
        for name in (
            "checks/text_checks",
            "checks/quarantine",
            "checks/duplicates",
            "checks/profile",
            "checks/advice",
        )
    ),
    *(f"doctor/{name}.py" for name in ("checks", "facts", "versions")),
    *(f"train/calibration/{name}.py" for name in ("record", "fit", "use")),
    *(f"sweep/{name}.py" for name in ABOUT_SWEEPS),
    *(f"evaluate/{name}.py" for name in ("objective", "conditions", "work", "gate", "snr")),
)

MAX_LINES = 400
MAX_JOB_LINES = 80


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it; for `from a import b` both a and a.b."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in LIBRARY}


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "core"


def own_imports(path: Path) -> set[str]:
    """Modules of this package that a file imports; packages stand for their `__init__`."""
    return {name for name in imports(path) if name in MODULES and name != module_of(path)}


def top_level(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_imports_go_down_the_layers(path: Path) -> None:
    # The empty package itself belongs to no layer.
    known = {layer_of(name) for name in own_imports(path) - {"asr_ray"}}
    assert known <= MAY_IMPORT[layer_of(module_of(path))]


def test_every_package_has_a_layer() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= set(MAY_IMPORT) | CORE_PACKAGES


def test_the_library_never_imports_jobs_or_tests() -> None:
    # Jobs import each other by their bare names: their folder is on the path when one is run.
    forbidden = {"jobs", "tests", *(path.stem for path in JOBS)}
    assert not {name_of(path): names for path in LIBRARY if (names := top_level(path) & forbidden)}


def test_no_module_reaches_itself_through_its_imports() -> None:
    # Names imported for annotations alone count as well: knowing each other is what is to be avoided.
    graph = {module: own_imports(path) - {"asr_ray"} for module, path in MODULES.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"circular imports: {' <- '.join(error.args[1])}")


def test_only_the_named_files_import_ray() -> None:
    importing = {str(path.relative_to(PACKAGE)) for path in LIBRARY if "ray" in top_level(path)}
    assert importing <= MAY_IMPORT_RAY


def test_core_and_deciding_modules_are_light() -> None:
    core = [path for module, path in MODULES.items() if layer_of(module) == "core"]
    light = [*core, *(PACKAGE / name for name in DECIDING)]
    assert not {name_of(path): heavy for path in light if (heavy := top_level(path) & {*LIGHT})}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_nothing_is_printed_and_no_error_is_swallowed(path: Path) -> None:
    nodes = list(ast.walk(parsed(path)))
    printing = [node.lineno for node in nodes if isinstance(node, ast.Call) and names(node.func) == {"print"}]
    broad = [
        node.lineno
        for node in nodes
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or names(node.type) & {"Exception", "BaseException"})
    ]
    assert (printing, broad) == ([], [])


def names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def test_files_are_short() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*LIBRARY, *JOBS]}
    # What jobs share (`_cli.py`) is no job.
    jobs = {path for path in JOBS if not path.stem.startswith("_")}
    assert not {name_of(path): count for path, count in lines.items() if count > MAX_LINES}
    assert not {name_of(path): lines[path] for path in jobs if lines[path] >= MAX_JOB_LINES}
