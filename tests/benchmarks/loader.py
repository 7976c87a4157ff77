"""The feed of this package as a mode of a loader benchmark: `--mode tests.benchmarks.loader:ours`.

Everything that training has is in it: plan, Ray Data, reading and decoding tasks, the split for ranks.
"""

from __future__ import annotations

import argparse
import json
import logging
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asr_ray.data.assemble import Assembler
from asr_ray.data.catalog import SCHEMA, TOKENIZER_DIGEST, Catalog
from asr_ray.data.feed import planned_dataset, read_batches
from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.data.shard_file import shard_path, write_shard
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS
from asr_ray.records import Position, PromptTable, Utterance
from asr_ray.settings import DataSettings, MixSettings
from asr_ray.testing.fakes import FakeTokenizer

SOURCE = "bench"
_ROWS_PER_GROUP = 16
_ROWS_PER_SHARD = 2048

Rows = tuple[npt.NDArray[np.int16], npt.NDArray[np.int64], list[str], list[str], list[int]]


def ours(
    args: argparse.Namespace, meta: Mapping[str, Any], shares: npt.NDArray[np.float64], bins: object
) -> Iterator[Rows]:
    """Yield (audio [B, N], num_samples [B], languages, ids, characters) as the benchmark counts them."""
    import ray

    folder = Path(args.data) / "asr-ray"
    if not (folder / "catalog.parquet").exists():
        write_folder(Path(args.data), languages=list(meta["langs"]), out=folder)
    planned = planned_data(folder, batch_s=args.batch_duration, seed=args.seed, num_steps=args.utts)
    ray.init(address="local", num_cpus=args.workers + 1, include_dashboard=False, logging_level=logging.ERROR)
    start = ResumePoint(position=Position(), world_size=1, steps_taken=0)
    (split,) = planned_dataset(planned, start, world_size=1).streaming_split(1, equal=True)
    for batch in read_batches(split, start=Position()):
        yield batch.audio, batch.num_samples, list(batch.locales), list(batch.ids), batch.num_tokens.tolist()


def planned_data(folder: Path, *, batch_s: float, seed: int, num_steps: int) -> PlannedData:
    """The data of a run without its model: one token a character, shares by the root of the hours."""
    return PlannedData(
        data=DataSettings(train=folder, validation=folder, mix=MixSettings(alpha=0.5), batch_s=batch_s),
        seed=seed,
        num_steps=num_steps,
        budget_s=num_steps * batch_s,
        assembler=Assembler(
            tokenizer=FakeTokenizer(),
            prompts=PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS),
            prompt_mode="langID",
            auto_share=0.0,
            append_tags=False,
            seed=seed,
        ),
    )


def write_folder(data: Path, *, languages: list[str], out: Path) -> Catalog:
    """Turn the tars of the benchmark into shards and a catalog; the same FLAC bytes, in another order."""
    rows: list[dict[str, object]] = []
    for language in languages:
        utterances = list(_utterances(data / language, language=language))
        np.random.default_rng(0).shuffle(utterances)  # type: ignore[arg-type]  # a list is shuffled in place
        for part, first in enumerate(range(0, len(utterances), _ROWS_PER_SHARD)):
            inside = utterances[first : first + _ROWS_PER_SHARD]
            shard = shard_path(locale=language, source=SOURCE, part=part)
            write_shard(out / shard, inside, utterances_per_row_group=_ROWS_PER_GROUP)
            rows += [_catalog_row(u, shard=shard, index=index) for index, u in enumerate(inside)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Catalog.write(table, out / "catalog.parquet", {TOKENIZER_DIGEST: FakeTokenizer().digest})


def _utterances(folder: Path, *, language: str) -> Iterator[Utterance]:
    for path in sorted(folder.glob("audio_*.tar")):
        manifest = path.with_name(path.name.replace("audio_", "manifest_")).with_suffix(".json")
        with tarfile.open(path) as tar:
            for line in map(json.loads, manifest.read_text(encoding="utf-8").splitlines()):
                member = tar.extractfile(line["audio_filepath"])
                assert member is not None
                yield Utterance(
                    id=line["audio_filepath"],
                    audio=member.read(),
                    duration_s=line["duration"],
                    text=line["text"],
                    locale=language,
                    source=SOURCE,
                    origin=str(manifest),
                )


def _catalog_row(utterance: Utterance, *, shard: str, index: int) -> dict[str, object]:
    row_group, row = divmod(index, _ROWS_PER_GROUP)
    return {
        "id": utterance.id,
        "locale": utterance.locale,
        "source": utterance.source,
        "duration_s": utterance.duration_s,
        "num_tokens": len(utterance.text),
        "shard": shard,
        "row_group": row_group,
        "row": row,
        "speaker": 0,
    }
