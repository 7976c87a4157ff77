"""What a padded batch costs and what it may hold.

Both see a batch as three numbers: B utterances, the longest of T seconds, the most tokens U.
All functions work on arrays over batches [M].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr_ray.data.shuffle import Int64s
from asr_ray.errors import ConfigError

Floats = npt.NDArray[np.float64]

ENCODER_FRAME_S = 0.08
"""Seconds per encoder frame: 10 ms features, subsampled by 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Predicted time of one padded batch: B * (a*T + b*T**2 + c*T*(U + 1)) + d.

    T is the longest utterance in seconds, U its largest number of tokens. The defaults are GFLOP of
    forward and backward of the 600M model by arithmetic, not a measurement: a = 6 * 0.6e9 parameters * 12.5
    frames; b = 24 layers of attention scores at width 1024; c = 8 * 640 * 13088 (joint of that width and
    vocabulary, computed twice) * 12.5 frames. Only their ratios matter here.

    Attributes:
        a: per second of padded audio (convolutions, feed-forward).
        b: per squared second (attention).
        c: per second and token (joint, lattice).
        d: per batch (kernel launches, optimiser); does not move the cut, only predicted times.
    """

    a: float = 45.0
    b: float = 0.07
    c: float = 0.84
    d: float = 0.0

    def __post_init__(self) -> None:
        if min(self.a, self.b, self.c, self.d) < 0 or max(self.a, self.c) <= 0:
            raise ConfigError(
                f"a cost model needs numbers >= 0 and a or c above 0, got {self}",
                fix="calibrate it again or use the defaults",
            )

    def batch_cost(self, *, utterances: Int64s, longest_s: Floats, most_tokens: Int64s) -> Floats:
        """Predicted cost of padded batches; all arrays [M]."""
        per_second = self.a + self.b * longest_s + self.c * (most_tokens + 1)
        return utterances * longest_s * per_second + self.d


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBudget:
    """What a padded batch may hold at most, so that it fits the device's memory.

    Attributes:
        max_padded_s: B x longest utterance in seconds.
        max_utterances: B.
        max_lattice_cells: B x encoder frames x (tokens + 1), None for a loss that never holds them all.
    """

    max_padded_s: float = 240.0
    max_utterances: int = 256
    max_lattice_cells: int | None = None

    def __post_init__(self) -> None:
        cells = 1 if self.max_lattice_cells is None else self.max_lattice_cells
        if self.max_padded_s <= 0 or self.max_utterances < 1 or cells < 1:
            raise ConfigError(
                f"a batch budget must be above 0, got {self}", fix="raise the limit that is 0 or less"
            )

    def usage(self, *, utterances: Int64s, longest_s: Floats, most_tokens: Int64s) -> Floats:
        """Share of the tightest limit that padded batches use; above 1 they do not fit. Arrays [M]."""
        used = np.maximum(utterances * longest_s / self.max_padded_s, utterances / self.max_utterances)
        if self.max_lattice_cells is not None:
            cells = lattice_cells(utterances=utterances, longest_s=longest_s, most_tokens=most_tokens)
            used = np.maximum(used, cells / self.max_lattice_cells)
        return np.asarray(used, dtype=np.float64)


def lattice_cells(*, utterances: Int64s, longest_s: Floats, most_tokens: Int64s) -> Floats:
    """Cells of a padded RNNT lattice, B x encoder frames x (tokens + 1); arrays [M]."""
    frames: Floats = np.ceil(longest_s / ENCODER_FRAME_S)
    return frames * (utterances * (most_tokens + 1))
