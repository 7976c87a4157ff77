"""How much of the training text the tokenizer can write, told before the first step.

A character without a piece becomes the unknown piece: the model learns to write it, and every such word is
an error for ever. Preparation rejects the rows that are full of them; here the rest is summed up by locale.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asr_ray.data.catalog import Catalog
from asr_ray.data.planned import PlannedData
from asr_ray.data.read import RowAddress, addresses
from asr_ray.errors import DataError
from asr_ray.files import write_whole
from asr_ray.records import Tokenizer

log = logging.getLogger(__name__)

SAMPLED_UTTERANCES = 1_000
"""Of each locale; preparation has put them in an order by chance."""

_TOLD_CHARACTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a tokenizer makes of some transcripts.

    Attributes:
        unknown_tokens: tokens that stand for characters without a piece.
        characters: characters without a piece -> how often they occur, the most frequent ones.
    """

    utterances: int
    tokens: int
    unknown_tokens: int
    characters: Mapping[str, int]

    @property
    def unknown_share(self) -> float:
        """Of all tokens."""
        return self.unknown_tokens / self.tokens if self.tokens else 0.0


def coverage_of(texts: Iterable[str], *, tokenizer: Tokenizer) -> Coverage:
    """Return what the tokenizer makes of transcripts."""
    utterances = tokens = unknown = 0
    letters: Counter[str] = Counter()
    for text in texts:
        token_ids = tokenizer.encode(text)
        utterances, tokens = utterances + 1, tokens + len(token_ids)
        lacking = token_ids.count(tokenizer.unknown_id)
        if lacking:
            unknown += lacking
            letters.update(text)
    without_piece = {
        letter: count for letter, count in letters.items() if tokenizer.unknown_id in tokenizer.encode(letter)
    }
    most = sorted(without_piece.items(), key=lambda each: (-each[1], each[0]))[:_TOLD_CHARACTERS]
    return Coverage(utterances=utterances, tokens=tokens, unknown_tokens=unknown, characters=dict(most))


def measure_coverage(planned: PlannedData) -> dict[str, Coverage]:
    """Return the coverage of a sample of each locale that the run reads.

    Raises:
        DataError: a shard cannot be read.
    """
    catalog = planned.plan.catalog
    used = {key[0] for mix in planned.plan.schedule for key, share in mix.shares.items() if share > 0}
    return {
        locale: coverage_of(
            _as_trained(_sample(catalog, locale=locale), locale=locale, tags=planned.assembler.append_tags),
            tokenizer=planned.assembler.tokenizer,
        )
        for locale in sorted(used)
    }


def _as_trained(texts: Iterable[str], *, locale: str, tags: bool) -> Iterator[str]:
    """Transcripts with their language tag, which the tokenizer of a new locale has no piece for."""
    return (f"{text} <{locale}>" if tags else text for text in texts)


def check_coverage(coverage: Mapping[str, Coverage], *, max_unknown_share: float) -> None:
    """Log what the tokenizer lacks, by locale.

    Raises:
        DataError: it lacks more than allowed.
    """
    lacking = {tag: each for tag, each in coverage.items() if each.unknown_tokens}
    for tag, each in lacking.items():
        log.warning("%s", describe(tag, each))
    over = [tag for tag, each in lacking.items() if each.unknown_share > max_unknown_share]
    if over:
        raise DataError(
            f"model.max_unknown_share is {max_unknown_share:.2%}; "
            + "; ".join(describe(tag, lacking[tag]) for tag in over),
            fix="write the texts with letters that the tokenizer has, leave the locale out, or raise it",
        )


def describe(tag: str, coverage: Coverage) -> str:
    """Return one line about a locale."""
    letters = " ".join(f"{letter!r}" for letter in coverage.characters)
    return f"{tag}: the tokenizer has no piece for {coverage.unknown_share:.2%} of the tokens ({letters})"


def write_coverage(path: Path, *, coverage: Mapping[str, Coverage]) -> None:
    """Leave the report as JSON, by locale."""
    tree = {tag: asdict(each) | {"unknown_share": each.unknown_share} for tag, each in coverage.items()}
    write_whole(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def _sample(catalog: Catalog, *, locale: str) -> list[str]:
    of_locale = np.array([tag == locale for tag, _ in catalog.keys])
    rows = np.flatnonzero(of_locale[catalog.key_of_row])[:SAMPLED_UTTERANCES]
    return read_texts(catalog.root, addresses(catalog.table.take(pa.array(rows))))


def read_texts(root: Path, rows: Sequence[RowAddress]) -> list[str]:
    """Return the transcripts of some rows, shard by shard, without touching their audio.

    Raises:
        DataError: a shard is missing, damaged or shorter than the catalog says.
    """
    groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for address in rows:
        groups[address.shard, address.row_group].append(address.row)
    texts: list[str] = []
    for (shard, group), wanted in sorted(groups.items()):
        try:
            table = pq.ParquetFile(root / shard).read_row_group(group, columns=["text"])
            texts += table.column("text").take(pa.array(wanted)).to_pylist()
        except (OSError, IndexError, pa.ArrowException) as error:
            raise DataError(
                f"{root / shard}: row group {group} cannot be read: {error}",
                fix="run jobs/prepare.py again",
            ) from error
    return texts
