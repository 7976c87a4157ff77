"""Measure loaders: `python -m tests.benchmarks.loader --help`. Prints one JSON line.

Each loader delivers padded batches of at most 240 s, shares of the languages by the root of their hours,
with one reading process, and is run several times in a process of its own. Counted are the seconds of
audio per second of processor time, of the process and all that descend from it, from the first batch on.

raw     tar and libsndfile alone, no batches: what one core can do at best
lhotse  Shar, DynamicBucketingSampler with 30 buckets, AudioSamples
nemo    the loader of NeMo on its tarred format, the same buckets
ours    plan, Ray Data, reading tasks and the split for ranks, as in training
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import psutil
import soundfile

from asr_ray.data.assemble import Assembler
from asr_ray.data.feed import RankFeed, planned_dataset
from asr_ray.data.planned import PlannedData, ResumePoint
from asr_ray.locales import DEFAULT_PROMPT_SLOTS, NUM_PROMPT_SLOTS
from asr_ray.records import SAMPLE_RATE, Batch, Position, PromptTable
from asr_ray.settings import DataSettings, MixSettings
from asr_ray.testing.fakes import FakeTokenizer
from tests.benchmarks import loader_corpus

BATCH_S = 240.0
BUCKETS = 30
BUFFER = 2000
WINDOW = 4096
STEPS = 1000
"""Of the run that is planned: more than any run of this benchmark reads."""


class Delivered(NamedTuple):
    """What of a batch is counted: samples of each row, characters of each transcript, shape of the audio."""

    num_samples: np.ndarray[Any, Any]
    num_characters: np.ndarray[Any, Any]
    shape: tuple[int, ...]


def raw(folder: Path) -> Iterator[Delivered]:
    """Decode every member of every tar, again and again."""
    while True:
        for path in sorted(folder.glob("tars/*/*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    assert file is not None
                    samples, _ = soundfile.read(io.BytesIO(file.read()), dtype="float32")
                    yield Delivered(np.array([len(samples)]), np.array([1]), (1, len(samples)))


def lhotse(folder: Path) -> Iterator[Delivered]:
    """Read Shar with Lhotse."""
    from lhotse import CutSet
    from lhotse.dataset import DynamicBucketingSampler, IterableDatasetWrapper, make_worker_init_fn
    from torch.utils.data import DataLoader

    hours = _hours(folder)
    sets = [
        CutSet.from_shar(in_dir=str(folder / "shar" / tag / "shar"), shuffle_shards=True, seed=0).repeat(
            preserve_id=True
        )
        for tag in hours
    ]
    sampler = DynamicBucketingSampler(
        CutSet.mux(*sets, weights=[h**0.5 for h in hours.values()], seed=0),
        max_duration=BATCH_S,
        num_buckets=BUCKETS,
        shuffle=True,
        buffer_size=BUFFER,
        duration_bins=_bins(folder),
        seed=0,
        rank=0,
        world_size=1,
    )
    yield from DataLoader(
        IterableDatasetWrapper(_Collate(), sampler),
        batch_size=None,
        num_workers=1,
        worker_init_fn=make_worker_init_fn(rank=0, world_size=1, seed=0),
        persistent_workers=True,
    )


def nemo(folder: Path) -> Iterator[Delivered]:
    """Read NeMo's tars with NeMo."""
    logging.disable(logging.WARNING)
    from nemo.collections.common.data.lhotse.dataloader import get_lhotse_dataloader_from_config

    inputs = []
    for tag, hours in _hours(folder).items():
        last = len(list((folder / "tars" / tag).glob("*.tar"))) - 1
        names = [str(folder / "tars" / tag / f"{kind}__OP_0..{last}_CL_.") for kind in ("manifest", "audio")]
        inputs.append(
            {
                "type": "nemo_tarred",
                "manifest_filepath": f"{names[0]}json",
                "tarred_audio_filepaths": f"{names[1]}tar",
                "weight": hours,
            }
        )
    config = {
        "input_cfg": inputs,
        "reweight_temperature": [0.5],
        "use_bucketing": True,
        "batch_duration": BATCH_S,
        "bucket_duration_bins": _bins(folder),
        "bucket_buffer_size": BUFFER,
        "shuffle": True,
        "shuffle_buffer_size": None,
        "num_workers": 1,
        "shard_seed": "randomized",
        "seed": 0,
    }
    yield from get_lhotse_dataloader_from_config(
        config, global_rank=0, world_size=1, dataset=_Collate(), tokenizer=None
    )


class _Collate:
    """A data set of Lhotse that decodes and pads, as NeMo's own does before the tokens."""

    def __init__(self) -> None:
        from lhotse.dataset import AudioSamples

        self.load = AudioSamples(fault_tolerant=True)

    def __getitem__(self, cuts: Any) -> Delivered:
        audio, lengths, kept = self.load(cuts)
        characters = np.array([len(cut.supervisions[0].text) for cut in kept])
        return Delivered(lengths.numpy(), characters, tuple(audio.shape))


def asr_ray(folder: Path) -> Iterator[Delivered]:
    """Read prepared shards with this package."""
    for batch in batches_of(folder / "prepared"):
        yield Delivered(batch.num_samples, batch.num_tokens, batch.audio.shape)


def ours(args: argparse.Namespace, meta: Mapping[str, Any], shares: object, bins: object) -> Iterator[Any]:
    """The same as a mode of another loader benchmark, whose tars lie as DATA/<language>/audio_<k>.tar.

    Yields:
        (audio [B, N], num_samples [B], languages, ids, characters), as that benchmark counts them.
    """
    folder = Path(args.data).absolute()
    if not (folder / "prepared/catalog.parquet").exists():
        loader_corpus.prepare_tars(folder, languages=list(meta["langs"]))
    for batch in batches_of(folder / "prepared"):
        languages = [locale.partition("-")[0] for locale in batch.locales]
        yield batch.audio, batch.num_samples, languages, list(batch.ids), batch.num_tokens.tolist()


def batches_of(prepared: Path) -> Iterator[Batch]:
    """Start Ray and yield the batches of a single rank."""
    import ray

    ray.init(
        address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
    )
    start = ResumePoint(position=Position(), world_size=1, steps_taken=0)
    dataset = planned_dataset(planned_data(prepared), start, world_size=1)
    (split,) = dataset.streaming_split(1, equal=True)
    yield from RankFeed(split).batches(Position())


def planned_data(folder: Path) -> PlannedData:
    """The data of a run without its model: one token a character, shares by the root of the hours."""
    return PlannedData(
        data=DataSettings(
            train=folder,
            validation=folder,
            mix=MixSettings(alpha=0.5),
            batch_s=BATCH_S,
            window_utterances=WINDOW,
        ),
        seed=0,
        num_steps=STEPS,
        budget_s=1e9,
        assembler=Assembler(
            tokenizer=FakeTokenizer(),
            prompts=PromptTable(slots=DEFAULT_PROMPT_SLOTS, num_slots=NUM_PROMPT_SLOTS),
            prompt_mode="langID",
            auto_share=0.0,
            append_tags=False,
            seed=0,
        ),
    )


LOADERS: Mapping[str, Callable[[Path], Iterator[Delivered]]] = {
    "raw": raw,
    "lhotse": lhotse,
    "nemo": nemo,
    "ours": asr_ray,
}


def _manifest_rows(folder: Path, tag: str = "*") -> list[dict[str, Any]]:
    paths = sorted(folder.glob(f"tars/{tag}/*.json"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def _hours(folder: Path) -> dict[str, float]:
    return {
        tag: sum(row["duration"] for row in _manifest_rows(folder, tag)) / 3600
        for tag in loader_corpus.LANGUAGES
    }


def _bins(folder: Path) -> list[float]:
    """Limits of buckets that hold the same number of seconds each."""
    durations_s = np.sort([row["duration"] for row in _manifest_rows(folder)])
    total = np.cumsum(durations_s)
    places = np.searchsorted(total, total[-1] * np.arange(1, BUCKETS) / BUCKETS)
    return [float(durations_s[place]) for place in places]


def measure(name: str, folder: Path, *, utterances: int) -> dict[str, float]:
    """Run one loader in this process until it has delivered so many utterances after the first batch."""
    started = time.perf_counter()
    batches = LOADERS[name](folder)
    next(batches)
    first_batch_s, processor, opened = time.perf_counter() - started, _processor_s(), time.perf_counter()
    audio_s = padded_s = cells = padded_cells = 0.0
    count = 0
    with _Peak() as peak:
        for batch in batches:
            # Loaders of torch hand over tensors whatever they were given.
            num_samples, characters = np.asarray(batch.num_samples), np.asarray(batch.num_characters)
            count += len(num_samples)
            audio_s += float(num_samples.sum()) / SAMPLE_RATE
            padded_s += float(np.prod(batch.shape)) / SAMPLE_RATE
            cells += float((num_samples * characters).sum())
            padded_cells += float(np.prod(batch.shape) * characters.max())
            if count >= utterances:
                break
        processor_s, elapsed_s = _processor_s() - processor, time.perf_counter() - opened
    return {
        "audio_s_per_cpu_s": audio_s / processor_s,
        "audio_s_per_s": audio_s / elapsed_s,
        "audio_padding": 1 - audio_s / padded_s,
        "lattice_padding": 1 - cells / padded_cells,
        "first_batch_s": first_batch_s,
        "peak_private_mb": peak.mb,
        "peak_private_mb_of_all": peak.all_mb,
    }


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _processor_s() -> float:
    """Processor time of this process and of all that descend from it, the dead ones included."""
    total = 0.0
    for process in _family():
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return total


def _private_mb() -> tuple[float, float]:
    """Memory but for the object store: of this process with its largest helper, and with all."""
    own, others = 0.0, [0.0]
    for process in _family():
        try:
            memory = process.memory_info()
        except psutil.Error:
            continue
        private_mb = (memory.rss - memory.shared) / 2**20
        if process.pid == os.getpid():
            own = private_mb
        else:
            others.append(private_mb)
    return own + max(others), own + sum(others)


class _Peak:
    """The largest `_private_mb` seen while it is open."""

    def __init__(self) -> None:
        self.mb = self.all_mb = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(1.0):
            with_largest_mb, all_mb = _private_mb()
            self.mb, self.all_mb = max(self.mb, with_largest_mb), max(self.all_mb, all_mb)


def main() -> None:
    """Run every loader several times, each in a fresh process, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/loader"))
    parser.add_argument("--utterances", type=int, default=4000, help="of the corpus, and per run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--loader", choices=tuple(LOADERS), action="append")
    parser.add_argument("--child", choices=tuple(LOADERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result = measure(options.child, options.data.absolute(), utterances=options.utterances)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        os._exit(0)  # loaders with endless workers do not end by themselves
    if not (options.data / "prepared/catalog.parquet").exists():
        loader_corpus.write(options.data.absolute(), utterances=options.utterances)
    names = options.loader or list(LOADERS)
    # In turns, so that a machine that slows down slows down all of them.
    runs = [{name: _run(name, options) for name in names} for _ in range(options.runs)]
    medians = {
        name: {key: round(statistics.median(run[name][key] for run in runs), 4) for key in runs[0][name]}
        for name in names
    }
    sys.stdout.write(json.dumps({"runs": options.runs, "batch_s": BATCH_S, "loaders": medians}) + "\n")


def _run(name: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.loader", "--child", name, "--data", str(options.data)]
    command += ["--utterances", str(options.utterances)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
