"""A training run on several ranks of this machine, joined by gloo, without Ray and without prepared data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asr_ray.records import Batch, Position
from asr_ray.settings import TrainSettings
from asr_ray.testing.prepared import noise_utterances
from asr_ray.testing.ranks import run_ranks

TIMEOUT_S = 400.0
"""After so long without a mark the ranks count as hung."""

KEY = ("el-GR", "radio")


def train_on_ranks(settings: TrainSettings, *, world_size: int) -> Sequence[str]:
    """Run the loop on noise in a process per rank; return the hash of the weights that each ended with.

    Each rank reads utterances of its own. The first leaves the model as a run does, at `RUN/best.nemo`.

    Raises:
        RuntimeError: a rank failed or did not come to its end; the error says why.
    """
    ended = run_ranks(
        _rank, settings, world_size=world_size, run_dir=settings.run_dir, hang_timeout_s=TIMEOUT_S
    )
    if not ended.well:
        raise RuntimeError(f"exit codes {ended.exit_codes}: {ended.errors}")
    hashes = [_outcome(settings.run_dir, rank) for rank in range(world_size)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in hashes]


def _outcome(run_dir: Path, rank: int) -> Path:
    return run_dir / f"weights-{rank}.json"


def _rank(settings: TrainSettings, *, rank: int, world_size: int) -> None:
    """One rank: what `train_worker` does, with noise for data."""
    import torch

    from asr_ray.model.nemo_file import load_model, quiet_nemo
    from asr_ray.train.finish import export_model
    from asr_ray.train.group import Worker
    from asr_ray.train.loop import Loop

    torch.set_num_threads(1)
    with quiet_nemo():
        model = load_model(Path(str(settings.model.base)))
    worker = Worker(
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
        batches=_Noise(settings, model=model, rank=rank, world_size=world_size),
        report=lambda metrics: None,
    )
    held_out = {KEY[0]: list(noise_utterances(KEY, count=world_size, seconds=(0.3, 0.4)))}
    loop = Loop(settings, model=model, worker=worker, validation=held_out, plan_digest="noise")
    loop.run()
    found = hashlib.sha256()
    for name, weight in sorted(loop.objective.state_dict().items()):
        found.update(name.encode() + weight.numpy().tobytes())
    _outcome(settings.run_dir, rank).write_text(json.dumps(found.hexdigest()), encoding="utf-8")
    export_model(loop, path=settings.run_dir / "best.nemo")
    worker.barrier()
    loop.metrics.close()


class _Noise:
    """Batches of noise without end, others on each rank."""

    def __init__(self, settings: TrainSettings, *, model: Any, rank: int, world_size: int) -> None:
        from asr_ray.data.assemble import Assembler
        from asr_ray.model.prompt import prompt_table
        from asr_ray.model.tokens import NemoTokenizer

        self.utterances = list(noise_utterances(KEY, count=12, seconds=(0.4, 0.7)))[rank::world_size]
        self.assembler = Assembler(
            tokenizer=NemoTokenizer.from_nemo(Path(str(settings.model.base))),
            prompts=prompt_table(model),
            prompt_mode="langID",
            auto_share=0.0,
            append_tags=False,
            seed=settings.seed,
        )

    def __call__(self, start: Position) -> Iterator[Batch]:
        step = start.step
        while True:
            chosen = [self.utterances[(step + place) % len(self.utterances)] for place in range(2)]
            here, after = Position(0, 0, step), Position(0, 0, step + 1)
            yield self.assembler.assemble(chosen, position=here, after=after)
            step += 1
