"""The model a run starts from: a name in the configuration -> a verified `.nemo` file."""

from __future__ import annotations

from pathlib import Path

from asr_ray.errors import ConfigError


def resolve_base(name: str) -> Path:
    """Return the `.nemo` file that `name` stands for: a path, or `tiny` for the one in this package.

    Raises:
        ConfigError: there is no such file.
    """
    if name == "tiny":
        from asr_ray.model.tiny import base_model_path

        return base_model_path()
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"model {name!r}: no such file", fix="give the path of a .nemo file, or `tiny`")
    return path
