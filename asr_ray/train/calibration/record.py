"""The record of a calibration, `calibration.json`: what was measured, on what, and what follows from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from asr_ray.data.batch_cost import lattice_cells
from asr_ray.errors import ConfigError
from asr_ray.files import write_whole
from asr_ray.model.nemo_file import NemoArchive
from asr_ray.settings import TrainSettings


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shape(_Part):
    """A batch of equal utterances.

    Attributes:
        duration_s: of each utterance.
        num_tokens: of each transcript.
    """

    utterances: int
    duration_s: float
    num_tokens: int

    @property
    def padded_s(self) -> float:
        """Seconds of audio."""
        return self.utterances * self.duration_s

    @property
    def cells(self) -> float:
        """Cells of the transducer lattice."""
        (count,) = lattice_cells(
            utterances=np.array([self.utterances]),
            longest_s=np.array([self.duration_s]),
            most_tokens=np.array([self.num_tokens]),
        )
        return float(count)


class Point(_Part):
    """One measured batch: median seconds of an update with it, peak memory where the device tells it."""

    shape: Shape
    step_s: float
    peak_bytes: int | None


class Subject(_Part):
    """What was calibrated; a run that differs in any of it needs a calibration of its own.

    Attributes:
        architecture: kinds and sizes of the layers, see `NemoArchive.architecture`.
        freeze: as in the settings.
        lora_rank: of the adapters of the encoder; 0 is without.
        auxiliary_ctc: whether the CTC helper took part.
    """

    architecture: str
    precision: Literal["fp32", "bf16"]
    freeze: Literal["none", "encoder"] | int
    lora_rank: int = 0
    auxiliary_ctc: bool

    @classmethod
    def of(cls, settings: TrainSettings, *, archive: NemoArchive) -> Subject:
        """The subject that a run is about."""
        return cls(
            architecture=archive.architecture,
            precision=settings.precision,
            freeze=settings.model.freeze,
            lora_rank=settings.model.lora.rank if settings.model.lora else 0,
            auxiliary_ctc=settings.model.auxiliary_ctc_weight > 0,
        )


class Device(_Part):
    """What it was measured on.

    Attributes:
        name: of the GPU, or of the CPU.
        memory_bytes: of the GPU; null for a CPU, which shares its memory with everything else.
        threads: of torch, on a CPU.
        cuda: version, null for a CPU.
    """

    name: str
    memory_bytes: int | None
    threads: int | None
    torch: str
    cuda: str | None


class CostFit(_Part):
    """Seconds of one update with a padded batch: B * (a*T + b*T**2 + c*T*(U + 1)) + d, see `CostModel`.

    Attributes:
        median_error, worst_error: |predicted / measured - 1| of points that the fit had not seen.
    """

    a: float
    b: float
    c: float
    d: float
    median_error: float
    worst_error: float


class MemoryFit(_Part):
    """Peak bytes of an update: fixed + B*T*per_s + B*T**2*per_s2 + cells*per_cell.

    Attributes:
        fixed: weights, gradients, optimizer, one tile of logits.
        median_error, worst_error: as of `CostFit`.
    """

    fixed: float
    per_s: float
    per_s2: float
    per_cell: float
    median_error: float
    worst_error: float

    def most_utterances(self, *, duration_s: float, num_tokens: int, limit_bytes: float) -> int | None:
        """The largest batch of such utterances within the limit; None when they seem to need nothing."""
        one = Shape(utterances=1, duration_s=duration_s, num_tokens=num_tokens)
        each = duration_s * self.per_s + duration_s**2 * self.per_s2 + one.cells * self.per_cell
        return None if each <= 0 else max(0, math.floor((limit_bytes - self.fixed) / each))


class LargestBatch(_Part):
    """How many utterances of one length fit, tried out; with what the fit of the memory predicts."""

    duration_s: float
    num_tokens: int
    utterances: int
    predicted_utterances: int | None


class BatchLimit(_Part):
    """What `data.batch_s` and `data.max_batch_utterances` may be."""

    batch_s: float
    max_batch_utterances: int


class Calibration(_Part):
    """What an update costs.

    Attributes:
        model: base model as the configuration named it; sha256: of its file.
        att_context_sizes: contexts that were drawn from.
        measured_on: date.
        tokens_per_s: density of the speech in the largest batches.
        headroom: share of the memory that was left free.
        memory, limit: null where the device has no memory of its own.
    """

    schema_version: Literal[1] = 1
    measured_on: str
    model: str
    sha256: str
    subject: Subject
    att_context_sizes: list[tuple[int, int]]
    device: Device
    cost: CostFit
    tokens_per_s: float
    headroom: float
    memory: MemoryFit | None
    largest: list[LargestBatch]
    limit: BatchLimit | None
    points: list[Point]

    def write(self, path: Path) -> None:
        """Write the record completely or not at all."""
        write_whole(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read what `write` wrote.

        Raises:
            ConfigError: there is no such file, or it is no calibration of this version.
        """
        fix = "name the file that jobs/calibrate.py wrote, or measure again"
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(f"{path}: no calibration: {where}: {first['msg']}", fix=fix) from None
