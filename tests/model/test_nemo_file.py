from __future__ import annotations

import functools
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from asr_ray.errors import AsrRayError, ConfigError, DataError, TrainingError
from asr_ray.model.nemo_file import MODEL_TARGET, inspect_nemo, load_model, save_model, sha256_of

if TYPE_CHECKING:
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

CONFIG: Mapping[str, Any] = {
    "target": MODEL_TARGET,
    "labels": ["a", "b"],
    "tokenizer": {"model_path": "nemo:0_tokenizer.model"},
    "model_defaults": {"prompt_dictionary": {"auto": 101, "el-GR": 21}},
    "encoder": {"_target_": "nemo.collections.asr.modules.ConformerEncoder"},
}

Archive = Callable[..., Path]


@functools.cache
def saved_weights() -> bytes:
    """Two tensors, one of them half precision, as torch writes them."""
    import torch

    stream = io.BytesIO()
    layer = torch.nn.Linear(2, 2)
    torch.save({**layer.state_dict(), "half": torch.ones(3).half(), "steps": torch.tensor(7)}, stream)
    return stream.getvalue()


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def trapped(marker: Path, *, protocol: int) -> bytes:
    """Weights with a trap among them."""
    import torch

    stream = io.BytesIO()
    torch.save({"weight": torch.ones(2), "trap": Trap(marker)}, stream, pickle_protocol=protocol)
    return stream.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Write a `.nemo`-like tar: `config` merged over a good one, then `extra` raw members."""

    def write(
        *extra: tarfile.TarInfo,
        config: Mapping[str, Any] = {},
        without: str = "",
        weights: bytes | None = None,
        compression: str = "",
    ) -> Path:
        files = {
            "model_config.yaml": yaml.safe_dump({**CONFIG, **config}).encode(),
            "model_weights.ckpt": weights or saved_weights(),
            "0_tokenizer.model": b"pieces",
        }
        path = tmp_path / "model.nemo"
        with tarfile.open(path, f"w:{compression}") as tar:  # type: ignore[call-overload]
            for name, content in files.items():
                if name != without:
                    info = tarfile.TarInfo(f"./{name}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
            for info in extra:
                tar.addfile(info)
        return path

    return write


def test_inspect_describes_the_archive(archive: Archive) -> None:
    found = inspect_nemo(archive())
    assert found.members == {"model_config.yaml": found.members["model_config.yaml"]} | {
        "model_weights.ckpt": len(saved_weights()),
        "0_tokenizer.model": 6,
    }
    assert found.target == MODEL_TARGET
    assert found.vocabulary_size == 2
    assert found.prompt_table.slots == {"auto": 101, "el-GR": 21}
    assert found.read(found.tokenizer_member) == b"pieces"
    assert found.sha256 == sha256_of(found.path)


def test_inspect_imports_neither_nemo_nor_torch(archive: Archive) -> None:
    code = (
        "import sys, pathlib; from asr_ray.model.nemo_file import inspect_nemo;"
        "inspect_nemo(pathlib.Path(sys.argv[1])); print({'nemo', 'torch', 'ray'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(archive())],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_members_outside_the_archive_are_refused(archive: Archive, name: str) -> None:
    with pytest.raises(DataError, match="outside"):
        inspect_nemo(archive(tarfile.TarInfo(name)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(archive: Archive, kind: bytes) -> None:
    info = tarfile.TarInfo("vocab.txt")
    info.type, info.linkname = kind, "model_config.yaml"
    with pytest.raises(DataError, match="link or device"):
        inspect_nemo(archive(info))


def test_a_second_configuration_is_refused(archive: Archive) -> None:
    with pytest.raises(DataError, match="twice"):
        inspect_nemo(archive(tarfile.TarInfo("model_config.yaml")))


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"target": "os.system"}, ConfigError),
        ({"target": "nemo.collections.asr.models.EncDecCTCModel"}, ConfigError),
        ({"encoder": {"_target_": "os.system"}}, DataError),
        ({"encoder": {"_target_": ["os.system"]}}, DataError),
        ({"encoder": {"_target_": "torch.hub.load"}}, DataError),
        # Trusted packages hold functions too, which write files and open connections.
        (
            {"x": {"_target_": "nemo.collections.asr.parts.utils.manifest_utils.write_manifest"}},
            DataError,
        ),
        ({"x": {"_target_": "nemo.utils.exp_manager.ExpManagerConfig"}}, DataError),
        ({"x": {"_target_": "torch.nn.init.zeros_"}}, DataError),
        ({"name": "os.system", "encoder": {"_target_": "${name}"}}, DataError),
        ({"optim": {"name": "${oc.env:HOME}"}}, DataError),
        ({"train_ds": [{"manifest": "x${ oc.decode:a}"}]}, DataError),
        ({"tokenizer": {"model_path": "nemo:model_weights.ckpt"}}, DataError),
        ({"extra": [{"deep": {"target": "subprocess.run"}}]}, DataError),
        ({"tokenizer": {"model_path": "/etc/passwd"}}, DataError),
        ({"labels": []}, DataError),
        ({"model_defaults": {}}, DataError),
    ],
)
def test_foreign_configurations_are_refused(
    archive: Archive, config: dict[str, Any], error: type[AsrRayError]
) -> None:
    with pytest.raises(error):
        inspect_nemo(archive(config=config))


def test_references_inside_a_configuration_are_no_lookups(archive: Archive) -> None:
    config = {"encoder": {**CONFIG["encoder"], "feat_in": "${preprocessor.features}"}}
    assert inspect_nemo(archive(config=config)).config["encoder"]["feat_in"] == "${preprocessor.features}"


@pytest.mark.parametrize("name", ["code.py", "tokenizer.pkl", "lib.so", "README"])
def test_files_that_are_no_part_of_a_model_are_refused(archive: Archive, name: str) -> None:
    with pytest.raises(DataError, match="no part of a model"):
        inspect_nemo(archive(tarfile.TarInfo(name)))


@pytest.mark.parametrize("compression", ["", "gz"])
def test_a_header_that_claims_too_much_is_refused_before_anything_is_unpacked(
    archive: Archive, compression: str
) -> None:
    info = tarfile.TarInfo("vocab.txt")
    info.size = 100 * 1024**3
    with pytest.raises(DataError, match="claims 107374182400 bytes"):
        inspect_nemo(archive(info, compression=compression))


@pytest.mark.parametrize("protocol", [2, 4])
def test_weights_that_would_run_code_are_refused_and_run_none(
    archive: Archive, tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With it torch would run the trap.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "marker"
    path = archive(weights=trapped(marker, protocol=protocol))
    for read in (inspect_nemo, load_model):
        with pytest.raises(DataError, match="would call"):
            read(path)
    assert not marker.exists()


def test_the_trap_is_a_real_one(tmp_path: Path) -> None:
    import torch

    marker = tmp_path / "marker"
    torch.load(io.BytesIO(trapped(marker, protocol=2)), weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("weights", [b"weights", pickle.dumps({"weight": [1.0]})])
def test_weights_of_another_kind_are_refused(archive: Archive, weights: bytes) -> None:
    with pytest.raises(DataError, match="not weights as torch saves them"):
        inspect_nemo(archive(weights=weights))


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("a/data.pkl", b".")] * 2, "twice"),
        ([("a/other", b"x")], "no data.pkl"),
        ([("a/data.pkl", b"\xff\xff")], "no pickle program"),
        ([("a/data.pkl", pickle.dumps({"weight": 1.0})), ("a/code.pkl", b"cos\nsystem\n.")], "os.system"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_that_are_no_weights_are_refused(
    archive: Archive, members: list[tuple[str, bytes]], says: str
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, content in members:
            packed.writestr(name, content)
    with pytest.raises(DataError, match=says):
        inspect_nemo(archive(weights=stream.getvalue()))


@pytest.mark.parametrize("member", ["model_config.yaml", "model_weights.ckpt", "0_tokenizer.model"])
def test_missing_parts_are_refused(archive: Archive, member: str) -> None:
    with pytest.raises(DataError, match="inside"):
        inspect_nemo(archive(without=member))


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model"):
        inspect_nemo(tmp_path / "absent.nemo")
    (tmp_path / "text.nemo").write_text("not a tar")
    with pytest.raises(DataError, match="not a readable"):
        inspect_nemo(tmp_path / "text.nemo")


def test_a_cut_archive_is_refused(archive: Archive) -> None:
    path = archive()
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError):
        inspect_nemo(path)


def test_the_digest_is_checked(archive: Archive) -> None:
    path = archive()
    assert inspect_nemo(path, expected_sha256=sha256_of(path).upper()).path == path
    with pytest.raises(ConfigError, match="sha256"):
        load_model(path, expected_sha256="0" * 64)


def test_stock_nemo_restores_the_same_class(
    micro_model: EncDecRNNTBPEModelWithPrompt, tmp_path: Path
) -> None:
    import torch
    from nemo.collections.asr.models import ASRModel

    restored = ASRModel.restore_from(
        str(save_model(micro_model, tmp_path / "copy.nemo")), map_location=torch.device("cpu")
    )
    assert type(restored) is type(micro_model)
    expected = micro_model.state_dict()
    assert restored.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in restored.state_dict().items())


def test_a_failed_save_leaves_the_old_file(
    micro_model: EncDecRNNTBPEModelWithPrompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.nemo"
    path.write_text("old")

    def fail(partial: str) -> None:
        Path(partial).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(micro_model, "save_to", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(micro_model, path)
    monkeypatch.setattr(micro_model, "save_to", lambda partial: None)
    with pytest.raises(TrainingError, match="rank 0"):
        save_model(micro_model, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
