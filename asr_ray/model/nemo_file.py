"""`.nemo` archives: look inside without trusting them, load, save.

A `.nemo` file is a tar of `model_config.yaml`, `model_weights.ckpt` and the tokenizer's files. NeMo
instantiates whatever class the configuration names, so an archive is inspected here, with neither NeMo
nor torch imported, before anything in it may run.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import yaml

from asr_ray.errors import ConfigError, DataError, TrainingError
from asr_ray.model.prompt import prompt_table
from asr_ray.model.weights_file import check_weights
from asr_ray.records import PromptTable

if TYPE_CHECKING:
    import torch
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

MODEL_TARGET = "nemo.collections.asr.models.rnnt_bpe_models_prompt.EncDecRNNTBPEModelWithPrompt"
"""The one class that is fine-tuned here, by its full path as NeMo writes it."""

CONFIG_MEMBER = "model_config.yaml"
WEIGHTS_MEMBER = "model_weights.ckpt"

_TARGET_KEYS = ("target", "_target_")
_TRUSTED_CLASSES = re.compile(
    r"(nemo\.collections\.asr\.(losses|models|modules|parts)|nemo\.collections\.common|nemo\.core\.config"
    r"|torch\.nn)\.([a-z_0-9]+\.)*[A-Z]\w*"
)
"""Classes by their full path; functions of the same packages write files and open connections."""
_RESOLVER = re.compile(r"\$\{\s*[\w.]+\s*:")
"""An interpolation that calls (`${oc.env:TOKEN}`), unlike one that refers (`${encoder.d_model}`)."""
_MEMBER_SUFFIXES = frozenset({".ckpt", ".json", ".model", ".txt", ".vocab", ".yaml"})
_COMPUTING_PARTS = ("preprocessor", "encoder", "decoder", "joint", "model_defaults")
# The configuration of the released model, 13,087 labels written twice, has about 1 MB, its weights 2.5 GB.
_MAX_CONFIG_BYTES = 32 * 1024**2
_MAX_MEMBER_BYTES = 16 * 1024**3
_HASH_CHUNK_BYTES = 8 * 1024**2
_DISTRUST = "do not load this file; get it from where it was published"


@dataclass(frozen=True)
class NemoArchive:
    """What a `.nemo` file says about itself.

    Attributes:
        members: file name inside the archive -> size in bytes.
        config: `model_config.yaml` as plain values, interpolations unresolved.
        tokenizer_member: name of the SentencePiece model inside the archive.
        vocabulary_size: number of pieces without the blank.
    """

    path: Path
    members: Mapping[str, int]
    target: str
    config: Mapping[str, Any]
    tokenizer_member: str
    prompt_table: PromptTable
    vocabulary_size: int

    @cached_property
    def sha256(self) -> str:
        """Digest of the whole file; read on first use, since 2.5 GB take seconds."""
        return sha256_of(self.path)

    @cached_property
    def architecture(self) -> str:
        """Digest of what decides the cost of a step: kinds and sizes of all layers, but no weights.

        A tuned model has that of its base.
        """
        parts = {name: _without_labels(self.config.get(name)) for name in _COMPUTING_PARTS}
        text = json.dumps({**parts, "pieces": self.vocabulary_size}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def num_encoder_layers(self) -> int:
        """Blocks of the encoder."""
        return int((self.config.get("encoder") or {}).get("n_layers", 0))

    def read(self, member: str) -> bytes:
        """Return the content of one member.

        Raises:
            DataError: the archive has no such file.
        """
        with _open_tar(self.path) as archive:
            return _read_member(archive, member, path=self.path)


def _without_labels(section: object) -> object:
    if not isinstance(section, Mapping):
        return section
    return {key: value for key, value in section.items() if key not in ("vocabulary", "labels")}


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def inspect_nemo(path: Path, *, expected_sha256: str | None = None) -> NemoArchive:
    """Describe a `.nemo` archive without running anything from it.

    Raises:
        ConfigError: no such file, another digest than expected, or a model of another class.
        DataError: not an archive, unsafe members, foreign classes in the configuration or the weights,
            parts missing.
    """
    if not path.is_file():
        raise ConfigError(f"no model at {path}", fix="name an existing .nemo file")
    if expected_sha256:
        _check_digest(path, expected_sha256)
    with _open_tar(path) as archive:
        members = _checked_members(archive, path=path)
        config = _read_config(archive, path=path)
        _check_targets(config, path=path)
        with _open_member(archive, WEIGHTS_MEMBER, path=path) as weights:
            check_weights(weights, where=f"{path}: {WEIGHTS_MEMBER}")
    return NemoArchive(
        path=path,
        members=members,
        target=str(config["target"]),
        config=config,
        tokenizer_member=_tokenizer_member(config, members, path=path),
        prompt_table=prompt_table(config),
        vocabulary_size=_vocabulary_size(config, path=path),
    )


def load_model(
    path: Path, *, device: torch.device | str = "cpu", expected_sha256: str | None = None
) -> EncDecRNNTBPEModelWithPrompt:
    """Restore a model in evaluation mode, after `inspect_nemo` has passed it.

    Raises:
        ConfigError, DataError: as `inspect_nemo`.
    """
    inspect_nemo(path, expected_sha256=expected_sha256)
    import torch
    from nemo.collections.asr.models import EncDecRNNTBPEModelWithPrompt

    with quiet_nemo():
        model = EncDecRNNTBPEModelWithPrompt.restore_from(
            str(path), map_location=torch.device(device), strict=True
        )
    return model.eval()


def save_model(model: EncDecRNNTBPEModelWithPrompt, path: Path) -> Path:
    """Write a `.nemo` file that stock NeMo restores; `path` is either the old file or the whole new one.

    Raises:
        TrainingError: NeMo wrote nothing, which it does on every rank but 0.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.nemo")
    try:
        with quiet_nemo():
            model.save_to(str(partial.resolve()))
        if not partial.is_file():
            raise TrainingError(f"NeMo saved no model to {path}", fix="save on rank 0 only")
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def quiet_nemo() -> Iterator[None]:
    """Let NeMo log errors only: it comments on every restore with lines that say nothing is wrong."""
    from nemo.utils import logging as nemo_logging

    before = nemo_logging.get_verbosity()
    nemo_logging.set_verbosity(nemo_logging.ERROR)
    try:
        yield
    finally:
        nemo_logging.set_verbosity(before)


def _check_digest(path: Path, expected: str) -> None:
    actual = sha256_of(path)
    if actual != expected.lower():
        raise ConfigError(
            f"{path}: sha256 is {actual}, expected {expected}",
            fix="download the file again, or correct the digest after checking where the file is from",
        )


@contextlib.contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:*") as archive:
            yield archive
    # A cut gzip stream ends, a broken one fails, both outside of tarfile's own errors.
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a readable .nemo archive ({error})", fix="copy it again") from error


def _checked_members(archive: tarfile.TarFile, *, path: Path) -> dict[str, int]:
    """Return file name -> size; refuse everything that could write outside the unpacking folder."""
    members: dict[str, int] = {}
    for info in archive:
        name = PurePosixPath(info.name)
        if name.is_absolute() or ".." in name.parts:
            raise DataError(f"{path}: member {info.name!r} points outside the archive")
        if not (info.isfile() or info.isdir()):
            raise DataError(f"{path}: member {info.name!r} is a link or device")
        # A second member of one name would replace, on unpacking, the one that was inspected.
        if str(name) in members:
            raise DataError(f"{path}: member {info.name!r} occurs twice")
        # Before going on to the next header, which in a compressed archive unpacks what is between.
        if info.size > _MAX_MEMBER_BYTES:
            raise DataError(f"{path}: member {info.name!r} claims {info.size} bytes")
        if info.isfile():
            if name.suffix not in _MEMBER_SUFFIXES:
                raise DataError(f"{path}: member {info.name!r} is no part of a model")
            members[str(name)] = info.size
    return members


def _read_member(archive: tarfile.TarFile, member: str, *, path: Path) -> bytes:
    with _open_member(archive, member, path=path) as stream:
        return stream.read()


def _open_member(archive: tarfile.TarFile, member: str, *, path: Path) -> IO[bytes]:
    for info in archive.getmembers():
        if info.isfile() and str(PurePosixPath(info.name)) == member:
            stream = archive.extractfile(info)
            if stream is not None:
                return stream
    raise DataError(f"{path}: no {member} inside", fix="copy or download the file again")


def _read_config(archive: tarfile.TarFile, *, path: Path) -> dict[str, Any]:
    content = _read_member(archive, CONFIG_MEMBER, path=path)
    if len(content) > _MAX_CONFIG_BYTES:
        raise DataError(f"{path}: {CONFIG_MEMBER} has {len(content)} bytes, too many for a configuration")
    # Two lists of 13,087 labels take the C loader 0.13 s, the Python one 1.1 s.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        config = yaml.load(content, Loader=loader)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: {CONFIG_MEMBER} is not valid YAML ({error})") from error
    if not isinstance(config, dict):
        raise DataError(f"{path}: {CONFIG_MEMBER} is not a mapping")
    return config


def _check_targets(config: Mapping[str, Any], *, path: Path) -> None:
    if config.get("target") != MODEL_TARGET:
        raise ConfigError(
            f"{path}: holds {config.get('target')!r}, not a prompt-conditioned RNNT model",
            fix=f"use a checkpoint of {MODEL_TARGET.rpartition('.')[2]} (Nemotron 3.5 ASR)",
        )
    for key, target in _nested_targets(config, key=""):
        if not _TRUSTED_CLASSES.fullmatch(str(target)):
            raise DataError(
                f"{path}: {key} names {target!r}, a class that no such model needs", fix=_DISTRUST
            )
    for key, text in _texts(config, key=""):
        if _RESOLVER.search(text):
            raise DataError(
                f"{path}: {key} is {text!r}, which would be looked up on this machine", fix=_DISTRUST
            )


def _nested_targets(value: object, *, key: str) -> Iterator[tuple[str, object]]:
    """Yield (dotted key, class name) of everything in a configuration that NeMo or Hydra would build."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            dotted = f"{key}.{name}" if key else str(name)
            if name in _TARGET_KEYS:
                yield dotted, child
            yield from _nested_targets(child, key=dotted)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _nested_targets(child, key=f"{key}[{index}]")


def _texts(value: object, *, key: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of every text in a configuration."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, child in value.items():
            yield from _texts(child, key=f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child, key=key)


def _tokenizer_member(config: Mapping[str, Any], members: Mapping[str, int], *, path: Path) -> str:
    """Return the archive's name of the SentencePiece model; NeMo writes it as `nemo:HASH_tokenizer.model`."""
    written = (config.get("tokenizer") or {}).get("model_path")
    member = str(written).removeprefix("nemo:")
    if member not in members or not member.endswith(".model"):
        raise DataError(
            f"{path}: tokenizer.model_path is {written!r}, and no such SentencePiece file is inside"
        )
    return member


def _vocabulary_size(config: Mapping[str, Any], *, path: Path) -> int:
    labels = config.get("labels")
    if not isinstance(labels, list) or not labels:
        raise DataError(f"{path}: {CONFIG_MEMBER} lists no labels, so its vocabulary is unknown")
    return len(labels)
