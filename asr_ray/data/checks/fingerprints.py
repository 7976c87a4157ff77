"""Hashes of what was prepared, beside the catalog: to find speech again in another prepared folder.

`fingerprints.parquet` has one row per utterance in the order of the catalog. It is a file of its own because
hashes do not compress (some 18 bytes each): planning, which reads only the catalog, shall not pay for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.errors import DataError

FINGERPRINTS = "fingerprints.parquet"

SCHEMA = pa.schema(
    [
        pa.field("audio_hash", pa.uint64(), nullable=False),
        pa.field("text_hash", pa.uint64(), nullable=False),
        pa.field("num_characters", pa.int32(), nullable=False),
    ]
)
"""Columns; what is hashed is said in `audio.audio_hash` and `text_checks.text_hash`."""

_CATALOG_DIGEST = "asr_ray.catalog_digest"
_AGAIN = "prepare the folder again with jobs/prepare.py"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What may not be trained on: sorted hashes, each once.

    Attributes:
        audio: uint64 [A].
        text: uint64 [T]; the locale is part of each.
    """

    audio: npt.NDArray[np.uint64]
    text: npt.NDArray[np.uint64]

    def __bool__(self) -> bool:
        return len(self.audio) > 0


def write_fingerprints(folder: Path, rows: pa.Table, *, catalog_digest: str) -> None:
    """Write the fingerprints of catalog rows.

    Args:
        folder: that of the catalog.
        rows: has the columns of `SCHEMA`, in the order of the catalog.
        catalog_digest: of the catalog that they belong to.
    """
    table = rows.select(SCHEMA.names).cast(SCHEMA)
    table = table.replace_schema_metadata({_CATALOG_DIGEST: catalog_digest})
    # Hashes are noise: nothing to be gained from dictionaries or a strong compression.
    pq.write_table(table, folder / FINGERPRINTS, compression="zstd", use_dictionary=["num_characters"])


def read_fingerprints(folder: Path, *, catalog_digest: str | None = None) -> pa.Table:
    """Return the fingerprints of a prepared folder, columns as in `SCHEMA`.

    Args:
        folder: that of the catalog.
        catalog_digest: of the catalog that they must belong to, row by row; None asks for none.

    Raises:
        DataError: there are none (the folder is of an earlier version), or they are of another catalog.
    """
    path = folder / FINGERPRINTS
    try:
        table = pq.read_table(path)
        digest = (table.schema.metadata or {}).get(_CATALOG_DIGEST.encode(), b"").decode()
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, so overlaps cannot be found", fix=_AGAIN) from None
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read: {error}", fix=_AGAIN) from None
    if catalog_digest is not None and digest != catalog_digest:
        raise DataError(f"{path} and the catalog beside it are of different preparations", fix=_AGAIN)
    return table


def read_held_out(folders: Sequence[Path]) -> HeldOut:
    """Return the hashes of all utterances of prepared folders; empty without folders.

    Raises:
        DataError: see `read_fingerprints`.
    """
    tables = [read_fingerprints(folder) for folder in folders]
    audio, text = (
        np.unique(np.concatenate([np.array([], np.uint64), *(table[name].to_numpy() for table in tables)]))
        for name in ("audio_hash", "text_hash")
    )
    return HeldOut(audio, text)


def digest_of_held_out(folders: Sequence[Path]) -> list[str]:
    """Return a sha256 of the fingerprints of each folder: a folder with other speech counts as another.

    Raises:
        DataError: a folder has none.
    """
    digests = []
    for folder in folders:
        try:
            with (folder / FINGERPRINTS).open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(
                f"held_out: {folder / FINGERPRINTS} cannot be read: {error.strerror or error}",
                fix="name a folder that this version of jobs/prepare.py has written",
            ) from None
    return digests
