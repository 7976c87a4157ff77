"""Members of uncompressed tar files by name, read by byte range: a tar is walked once per process."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Mapping
from typing import NamedTuple

from asr_ray.data import storage
from asr_ray.data.corpus.content import BadRow
from asr_ray.errors import DataError
from asr_ray.records import Reason, Stored

_MAX_MEMBER_BYTES = 2**30
_INDEXES_KEPT = 64


class Member(NamedTuple):
    """Where the content of a member stands in its tar file, in bytes."""

    start: int
    stop: int


def index(tar: str) -> Mapping[str, Member]:
    """Return the regular members of a tar file; of several with one name the last, as tar unpacks them.

    Raises:
        DataError: there is no such file, it is compressed or no tar, or storage does not answer.
    """
    try:
        return _index(tar, storage.marker(tar))
    except OSError as error:
        raise DataError(
            f"{tar}: {error.strerror or error}",
            fix="check the pattern of the tar files against what is there",
        ) from None


@functools.lru_cache(maxsize=_INDEXES_KEPT)
def _index(tar: str, _version: tuple[int, str]) -> Mapping[str, Member]:
    members: dict[str, Member] = {}
    with storage.open_file(tar) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as entries:
                for each in entries:
                    if each.isreg() and not each.issparse():
                        members[each.name] = Member(each.offset_data, each.offset_data + each.size)
        except tarfile.TarError as error:
            # A tar that was cut short still holds what stands before the end; its last rows are rejected.
            if not members:
                raise DataError(
                    f"{tar}: cannot be read as a tar file: {error}",
                    fix="unpack a compressed one (gunzip); members are read by their place in the file",
                ) from None
    return members


def read_member(tar: str, name: str) -> tuple[bytes, Stored]:
    """Return the content of a member and where it stands.

    Raises:
        BadRow: there is none of that name, or it is cut short or far too large.
        DataError: the tar file cannot be read.
    """
    member = index(tar).get(name)
    if member is None:
        raise BadRow(Reason.MISSING_AUDIO, f"no {name} in {tar}")
    size = member.stop - member.start
    if size > _MAX_MEMBER_BYTES:
        raise BadRow(Reason.UNDECODABLE, f"{name} in {tar}: {size:,} bytes, limit {_MAX_MEMBER_BYTES:,}")
    content = storage.read_range(tar, start=member.start, stop=member.stop)
    if len(content) < size:
        raise BadRow(Reason.TRUNCATED, f"{name} in {tar}: {len(content):,} of {size:,} bytes")
    return content, Stored(file=tar, start=member.start, stop=member.stop)
