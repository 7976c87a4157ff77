"""The model a run starts from: a name in the configuration -> a verified `.nemo` file."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.model.nemo_file import sha256_of
from asr_ray.settings.model import HubModel

log = logging.getLogger(__name__)


def resolve_base(base: str | HubModel) -> Path:
    """Return the `.nemo` file that `base` stands for.

    Args:
        base: a path, `tiny` for the model in this package, or a file on the Hugging Face Hub, which is
            downloaded to the cache of this machine unless it is there.

    Raises:
        ConfigError: there is no such file, here or on the Hub, or it is not the one that was pinned.
        EnvironmentFault: the Hub cannot be reached and the file is not in the cache.
    """
    if isinstance(base, HubModel):
        return _verified_download(base)
    if base == "tiny":
        from asr_ray.model.tiny import base_model_path

        return base_model_path()
    path = Path(base)
    if not path.is_file():
        raise ConfigError(f"model {base!r}: no such file", fix="give the path of a .nemo file, or `tiny`")
    return path


def name_for_jobs(base: str | HubModel) -> str:
    """Return what names a base on the command line of other jobs: as given, or its file in the cache."""
    return base if isinstance(base, str) else str(resolve_base(base))


@functools.cache
def _verified_download(base: HubModel) -> Path:
    """Download and check once per process: 2.5 GB take seconds to read."""
    return download(base)


def download(base: HubModel, *, cache_dir: Path | None = None, endpoint: str | None = None) -> Path:
    """Return the file of a pinned model in the cache, its sha256 checked.

    A connection that breaks is taken up again where it stopped, as long as this process lives; what a call
    that failed has downloaded is dropped by huggingface_hub 2.4. Processes that ask for the same file at
    the same time wait for the one that downloads it.

    Args:
        cache_dir: None takes that of huggingface_hub (`HF_HOME`, `HF_HUB_CACHE`).
        endpoint: None takes that of huggingface_hub (`HF_ENDPOINT`).

    Raises:
        ConfigError, EnvironmentFault: as `resolve_base`.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError of its HTTP library
        HTTPError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        found = hf_hub_download(
            base.hf, base.file_name, revision=base.revision, cache_dir=cache_dir, endpoint=endpoint
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError) as error:
        raise ConfigError(
            f"model.base: the Hub has no {base.file_name} in {base.hf} at {base.revision} "
            f"({type(error).__name__})",
            fix="correct hf, revision or file; for a private or gated repository set HF_TOKEN",
        ) from error
    except (HTTPError, OSError) as error:
        raise EnvironmentFault(
            f"model.base: {base.hf} is not in the cache of this machine and cannot be downloaded: "
            f"{_first_line(error)}",
            fix="connect this machine (HF_ENDPOINT for a mirror) and run the same command again; or "
            f"fetch {base.file_name} elsewhere and set model.base to its path",
        ) from error
    path = Path(found)
    _check(path, base=base)
    return path


def _check(path: Path, *, base: HubModel) -> None:
    actual = sha256_of(path)
    if actual != base.sha256.lower():
        raise ConfigError(
            f"{path} ({base}): sha256 is {actual}, expected {base.sha256}",
            fix=f"if {base.sha256} is right, delete {path.resolve()} and run the command again; "
            "else correct model.base.sha256 after checking it on the page of the file",
        )
    log.info("%s: %s, sha256 %s", base, path, actual)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
