"""Decoding on a pool of Ray actors: pieces of work go in, hypotheses come out as they are ready."""

from __future__ import annotations

import json
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from asr_ray.data.read import RowAddress, read_utterances
from asr_ray.evaluate.hypotheses import transcribe
from asr_ray.evaluate.scoring.score import Hypothesis
from asr_ray.evaluate.testsets import TestSet
from asr_ray.evaluate.work import Piece, Task
from asr_ray.model.base import resolve_base
from asr_ray.model.nemo_file import load_model, quiet_nemo
from asr_ray.placement import warn_of_absent_nodes
from asr_ray.records import Utterance
from asr_ray.settings import EvaluateSettings, HubModel

_RESTARTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an actor made of one piece for one task.

    Attributes:
        rows: catalog row, hypothesis, and its share of the seconds that the piece took.
    """

    task: Task
    rows: Sequence[tuple[int, Hypothesis, float]]


class Decoder:
    """Ray actor that holds the models and decodes pieces with each."""

    def __init__(
        self,
        *,
        tasks: Sequence[Task],
        bases: Mapping[str, str | HubModel],
        roots: Mapping[str, Path],
        settings: EvaluateSettings,
    ) -> None:
        import torch

        self.tasks, self.bases, self.roots, self.settings = tasks, bases, roots, settings
        self.device = torch.device("cuda" if settings.use_gpu else "cpu")
        self.models: dict[str, Any] = {}

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield a row for each task and utterance of a piece."""
        piece = json.loads(table["piece"][0].as_py())
        places = [RowAddress(*place) for place in piece["places"]]
        utterances = read_utterances(self.roots[piece["data"]], places)
        for number in piece["tasks"]:
            decoded, seconds = self._decode(self.tasks[number], utterances)
            audio_s = sum(row.duration_s for row in decoded)
            yield pa.Table.from_pylist(
                [
                    {
                        "task": number,
                        "row": row,
                        "decode_s": seconds * hypothesis.duration_s / audio_s,
                        "hypothesis": json.dumps(asdict(hypothesis)),
                    }
                    for row, hypothesis in zip(piece["rows"], decoded, strict=True)
                ]
            )

    def _decode(self, task: Task, utterances: Sequence[Utterance]) -> tuple[list[Hypothesis], float]:
        """Return the hypotheses and the seconds they took; the model is loaded when first asked for."""
        name, condition = task
        if name not in self.models:
            with quiet_nemo():
                self.models[name] = load_model(resolve_base(self.bases[name]), device=self.device)
        begin = time.perf_counter()
        rows = transcribe(
            self.models[name],
            utterances=utterances,
            att_context_size=condition.att_context_size,
            mode=condition.mode,
            prompt=condition.prompt,
            precision=condition.precision,
            keep_tags=condition.keep_tags,
            batch_s=self.settings.batch_s,
        )
        return rows, time.perf_counter() - begin


def decode_pieces(
    work: Sequence[Piece],
    *,
    test_sets: Mapping[str, TestSet],
    bases: Mapping[str, str | HubModel],
    settings: EvaluateSettings,
) -> Iterator[Outcome]:
    """Decode pieces on `num_actors` actors and yield outcomes in the order in which they are ready.

    Args:
        bases: model -> `.nemo` file, which every node must reach, or a file of the Hub, which each downloads.
    """
    tasks = list(dict.fromkeys(task for piece in work for task in piece.tasks))
    nodes = [node["Labels"] for node in ray.nodes() if node["Alive"]]
    warn_of_absent_nodes(settings.worker_labels, nodes=nodes, key="worker_labels")
    pieces = [{"piece": _described(piece, tasks=tasks, test_sets=test_sets)} for piece in work]
    with warnings.catch_warnings():
        # 2.60 takes `max_restarts` only in this way, and announces its end.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = ray.data.from_items(pieces, override_num_blocks=len(pieces)).map_batches(
            Decoder,
            fn_constructor_kwargs={
                "tasks": tasks,
                "bases": bases,
                "roots": {name: test_set.root for name, test_set in test_sets.items()},
                "settings": settings,
            },
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(settings.num_actors, len(pieces))),
            num_cpus=None if settings.use_gpu else 1,
            num_gpus=1 if settings.use_gpu else None,
            label_selector=settings.worker_labels,
            max_restarts=_max_restarts(num_nodes=len(ray.nodes())),
        )
    # Blocks as they are: the driver writes down each piece when it is there, not when a batch is full.
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from _outcomes(block, tasks=tasks)


def _described(piece: Piece, *, tasks: Sequence[Task], test_sets: Mapping[str, TestSet]) -> str:
    return json.dumps(
        {
            "data": piece.data,
            "rows": piece.rows,
            "places": test_sets[piece.data].addresses(piece.rows),
            "tasks": [tasks.index(task) for task in piece.tasks],
        }
    )


def _outcomes(block: pa.Table, *, tasks: Sequence[Task]) -> Iterator[Outcome]:
    by_task: defaultdict[int, list[tuple[int, Hypothesis, float]]] = defaultdict(list)
    for line in block.to_pylist():
        hypothesis = Hypothesis(**json.loads(line["hypothesis"]))
        by_task[line["task"]].append((line["row"], hypothesis, line["decode_s"]))
    for number, rows in by_task.items():
        yield Outcome(task=tasks[number], rows=rows)


def _max_restarts(*, num_nodes: int) -> int:
    """How often a dead actor comes back; Ray Data's own answer is without end.

    A node can be lost. On one machine, what killed an actor (memory, a driver) would kill it again.
    """
    return _RESTARTS if num_nodes > 1 else 0
