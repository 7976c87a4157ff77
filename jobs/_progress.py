"""Progress of a job: bars on a terminal, a line per tenth in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TENTHS = 10


@contextmanager
def progress_bars(*stages: str) -> Iterator[Callable[[str, float], None]]:
    """Yield what takes a stage and the share of it that is finished.

    Where standard error is no terminal, a line is written whenever another tenth is done.

    Args:
        stages: names of the bars, in their order.
    """
    from rich.console import Console
    from rich.progress import Progress

    on_terminal, told = sys.stderr.isatty(), dict.fromkeys(stages, 0)
    with Progress(console=Console(stderr=True), transient=True, disable=not on_terminal) as bars:
        tasks = {stage: bars.add_task(stage, total=1.0) for stage in stages}

        def update(stage: str, share: float) -> None:
            bars.update(tasks[stage], completed=share)
            # The parts of a whole add up to a little less than one.
            tenths = int(share * TENTHS + 1e-6)
            if not on_terminal and tenths > told[stage]:
                told[stage] = tenths
                sys.stderr.write(f"{stage}: {share:.0%}\n")

        yield update
