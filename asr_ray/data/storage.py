"""Files of corpora wherever they stand: local paths, or URLs through fsspec.

A path is a string: local ones are absolute, others are URLs (`s3://`, `gs://`, `hf://`, `memory://`).
What is absent is told by `FileNotFoundError` and its kin, for a row can be at fault for that. Everything
else that storage does (time-outs, refused access) is tried again and then raised as `DataError`: it says
nothing about the row, and a row must not be put aside for it.
"""

from __future__ import annotations

import errno
import glob
import io
import posixpath
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote, urlsplit

from fsspec.core import url_to_fs

from asr_ray.errors import DataError

T = TypeVar("T")

_WAITS_S = (0.5, 2.0, 8.0)
"""Pauses before another attempt."""

_PROTOCOLS = frozenset(
    {"s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "http", "https", "memory", "file"}
)
"""Manifests come from others: fsspec also knows protocols that run programs or unpack archives."""

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
_ABSENT = frozenset({errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENXIO})
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""Under which names file systems tell when or as what a file was written."""


class TooLargeError(ValueError):
    """A file above the limit of the caller."""


def is_url(path: str) -> bool:
    """Whether a path is read through fsspec; `file://` counts as local."""
    return "://" in path and not path.startswith("file://")


def absolute(path: str) -> str:
    """Return a local path from the root, a URL as it is; tasks may run in another folder."""
    return path if is_url(path) else str(_local(path).absolute())


def join(file: str, name: str) -> str:
    """Return the path that `name`, written in `file`, stands for: relative ones start at its folder."""
    if "://" in name:
        return name
    if not is_url(file) or name.startswith("/"):
        return str(_local(file).parent / name)
    protocol, _, rest = file.partition("://")
    return f"{protocol}://{posixpath.normpath(posixpath.join(posixpath.dirname(rest), name))}"


def stem(path: str) -> str:
    """Return the last part of a path without its last suffix."""
    return Path(path).stem


def find(pattern: str, *, inside: str | None = None) -> list[str]:
    """Return the files behind a path or a glob, sorted; local ones absolute.

    Args:
        pattern: file, glob, or a folder if `inside` is given.
        inside: glob of the files that are meant by a folder.

    Raises:
        DataError: storage does not answer, or its protocol is not supported here.
    """
    if is_url(pattern):
        found = _patiently(pattern, lambda: _find_remote(pattern, inside=inside))
    else:
        found = _find_local(_local(pattern), inside=inside)
    return sorted(found)


def _find_local(path: Path, *, inside: str | None) -> list[str]:
    if inside is not None and path.is_dir():
        return _find_local(path / inside, inside=None)
    # Globs first: `Path.glob` takes no absolute pattern, and brackets may be part of a name.
    names = [str(path)] if path.is_file() else glob.glob(str(path), recursive=True)  # noqa: PTH207
    return [str(name.absolute()) for name in map(Path, names) if name.is_file()]


def _find_remote(pattern: str, *, inside: str | None) -> list[str]:
    try:
        system, path = _filesystem(pattern)
    except ValueError as error:
        raise DataError(str(error), fix=f"use one of {', '.join(sorted(_PROTOCOLS))}") from None
    system.invalidate_cache()
    if inside is not None and system.isdir(path):
        path = f"{path.rstrip('/')}/{inside}"
    if system.isfile(path):
        return [system.unstrip_protocol(path)]
    found = system.glob(path, detail=True)
    return [system.unstrip_protocol(name) for name, info in found.items() if info["type"] == "file"]


def marker(path: str) -> tuple[int, str]:
    """Return size in bytes and something that changes when the file is written again.

    Raises:
        OSError: the file is absent.
        DataError: storage does not answer.
    """
    return _patiently(path, lambda: _marker(path))


def _marker(path: str) -> tuple[int, str]:
    if not is_url(path):
        found = _local(path).stat()
        return found.st_size, str(found.st_mtime_ns)
    system, inner = _filesystem(path)
    info = system.info(inner)
    return info["size"] or 0, next((str(info[name]) for name in _VERSIONS if info.get(name)), "")


def read_bytes(path: str, *, limit: int) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        TooLargeError: it is larger.
        OSError: it is absent or no regular file.
        ValueError: the path cannot name a file here.
        DataError: storage does not answer.
    """
    return _patiently(path, lambda: _read_bytes(path, limit=limit))


def _read_bytes(path: str, *, limit: int) -> bytes:
    if is_url(path):
        system, inner = _filesystem(path)
        _check_size(path, system.info(inner)["size"] or 0, limit=limit)
        return cast(bytes, system.cat_file(inner))
    found = _local(path).stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would wait for ever, a device never end
        raise IsADirectoryError(errno.EISDIR, "not a regular file", path)
    _check_size(path, found.st_size, limit=limit)
    return _local(path).read_bytes()


def _check_size(path: str, size: int, *, limit: int) -> None:
    if size > limit:
        raise TooLargeError(f"{path}: {size:,} bytes, limit {limit:,}")


def read_range(path: str, *, start: int, stop: int) -> bytes:
    """Return the bytes [start, stop) of a file, fewer where it ends.

    Raises:
        OSError: the file is absent.
        DataError: storage does not answer.
    """
    return _patiently(path, lambda: _read_range(path, start=start, stop=stop))


def _read_range(path: str, *, start: int, stop: int) -> bytes:
    if stop <= start:
        return b""
    if is_url(path):
        system, inner = _filesystem(path)
        return cast(bytes, system.cat_file(inner, start=start, end=stop))
    with _local(path).open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading with seeks.

    A failure of storage is raised at the end even where a C library that read the file took it for
    the end of the data.

    Raises:
        OSError: the file is absent.
        DataError: storage does not answer.
    """
    if not is_url(path):
        with _patiently(path, lambda: _local(path).open("rb")) as local:
            yield local
        return
    system, inner = _filesystem(path)
    with _patiently(path, lambda: system.open(inner, "rb")) as remote:
        watched = _Watched(remote)
        try:
            yield cast(BinaryIO, io.BufferedReader(watched))
        finally:
            if watched.failure is not None:
                raise _unavailable(path, watched.failure) from watched.failure


class _Watched(io.RawIOBase):
    """A remote file that remembers why a read failed."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except OSError as error:
            self.failure = error
            return 0  # C code cannot be raised through; `open_file` raises at the end
        buffer[: len(data)] = data
        return len(data)


def _local(path: str) -> Path:
    return Path(unquote(urlsplit(path).path)) if path.startswith("file://") else Path(path)


def _filesystem(path: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it."""
    protocol = path.partition("://")[0]
    if protocol not in _PROTOCOLS or "::" in path:
        raise ValueError(f"{path!r}: no storage protocol that corpora may use")
    try:
        system, inner = url_to_fs(path)
    except ImportError as error:
        package = _PACKAGES.get(protocol, "the package it names")
        raise DataError(f"{path}: {error}", fix=f"pip install {package}, on every machine") from None
    return system, inner


def _patiently(path: str, action: Callable[[], T]) -> T:
    """Act, and again after a while where another attempt may help."""
    for wait_s in _WAITS_S:
        try:
            return action()
        except PermissionError as error:
            raise _unavailable(path, error) from error
        except OSError as error:
            if is_absence(error):
                raise
        time.sleep(wait_s)
    try:
        return action()
    except OSError as error:
        if is_absence(error):
            raise
        raise _unavailable(path, error) from error


def is_absence(error: OSError) -> bool:
    """Whether an error says that there is no such file, rather than that it cannot be reached."""
    absent = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, absent) or error.errno in _ABSENT


def _unavailable(path: str, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be read: {error.strerror or error or type(error).__name__}",
        fix="check access rights and connection of every machine, then run the same command again",
    )
