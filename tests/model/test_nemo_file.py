from __future__ import annotations

import io
import subprocess
import sys
import tarfile
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


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Write a `.nemo`-like tar: `config` merged over a good one, then `extra` raw members."""

    def write(*extra: tarfile.TarInfo, config: Mapping[str, Any] = {}, without: str = "") -> Path:
        files = {
            "model_config.yaml": yaml.safe_dump({**CONFIG, **config}).encode(),
            "model_weights.ckpt": b"weights",
            "0_tokenizer.model": b"pieces",
        }
        path = tmp_path / "model.nemo"
        with tarfile.open(path, "w") as tar:
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
        "model_weights.ckpt": 7,
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
