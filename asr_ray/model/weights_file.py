"""Look into a file of weights before torch reads it: names of what it would call, nothing is run.

`torch.save` writes a zip whose `data.pkl` is a pickle program. Loading with `weights_only` refuses foreign
names too, but while it runs, and it can be switched off from outside. Here the program is only listed.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from typing import IO

from asr_ray.errors import DataError

_ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "torch.storage UntypedStorage",
        *(
            f"torch {kind}Storage"
            for kind in (
                *("BFloat16", "Half", "Float", "Double"),
                *("Bool", "Byte", "Char", "Short", "Int", "Long"),
            )
        ),
    }
)
"""All that tensors in a dictionary need."""

_NAMING_BY_STACK = frozenset({"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
"""Opcodes whose name is computed; torch writes none of them."""

_MAX_PROGRAM_BYTES = 64 * 1024**2
"""That of the released model has 0.1 MB."""

_FIX = "do not load this file; get it from where it was published"


def check_weights(stream: IO[bytes], *, where: str) -> None:
    """Raise DataError if a file of weights is anything but tensors in a dictionary.

    Args:
        stream: the file, seekable.
        where: names it in the message.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            programs = _programs(archive, where=where)
    except zipfile.BadZipFile as error:
        raise DataError(f"{where}: not weights as torch saves them ({error})", fix=_FIX) from error
    if not programs:
        raise DataError(f"{where}: holds no data.pkl, so no weights", fix=_FIX)
    for program in programs:
        for name in _foreign_names(program, where=where):
            raise DataError(f"{where}: would call {name!r} on loading, which no weights need", fix=_FIX)


def _programs(archive: zipfile.ZipFile, *, where: str) -> list[bytes]:
    """Every pickle program of the zip."""
    names = [info.filename for info in archive.infolist()]
    if len(set(names)) < len(names):
        # Readers differ in which of the two they take.
        raise DataError(f"{where}: a member occurs twice", fix=_FIX)
    programs = [info for info in archive.infolist() if info.filename.endswith(".pkl")]
    if any(info.file_size > _MAX_PROGRAM_BYTES for info in programs):
        raise DataError(f"{where}: its data.pkl is too large for a list of tensors", fix=_FIX)
    return [archive.read(info) for info in programs]


def _foreign_names(program: bytes, *, where: str) -> Iterator[str]:
    """Names in a pickle program that are not in `_ALLOWED`."""
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name in ("GLOBAL", "INST") and argument not in _ALLOWED:
                yield str(argument).replace(" ", ".")
            elif opcode.name in _NAMING_BY_STACK:
                yield opcode.name
    except ValueError as error:
        raise DataError(f"{where}: data.pkl is no pickle program ({error})", fix=_FIX) from error
