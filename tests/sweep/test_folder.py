"""The folder of a sweep is one sweep's, and one process's at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asr_ray.errors import ConfigError, EnvironmentFault
from asr_ray.sweep.folder import alone_in, check_unchanged
from asr_ray.sweep.space import load_sweep

RUN = """
data: {train: t, validation: v, mix: {alpha: {uniform: [0.0, 1.0]}}}
model: {base: tiny}
validation: {targets: [el-GR]}
sweep: {out: s}
"""
HOLD = """
import sys, time
from pathlib import Path
from asr_ray.sweep.folder import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("max_steps=700", r"run\.max_steps"),
        ("optim.peak_lr=0.5", r"run\.optim\.peak_lr"),
        ("data.mix.alpha={uniform: [0.0, 0.5]}", r"space\.data\.mix\.alpha"),
        ("sweep.search=random", r"sweep\.search"),
    ],
)
def test_trials_that_could_not_be_compared_are_refused(tmp_path: Path, change: str, named: str) -> None:
    (tmp_path / "sweep.yaml").write_text(RUN)
    record = tmp_path / "out/sweep.json"
    check_unchanged(load_sweep(tmp_path / "sweep.yaml"), path=record)
    # More trials, other machines: what leaves each trial as it is.
    for same in ("sweep.num_trials=99", "resources.local_cpus=2", "sweep.finalists=null"):
        check_unchanged(load_sweep(tmp_path / "sweep.yaml", sets=[same]), path=record)
    with pytest.raises(ConfigError, match=f"differs in {named},"):
        check_unchanged(load_sweep(tmp_path / "sweep.yaml", sets=[change]), path=record)


def test_a_folder_is_free_again_once_its_process_is_dead(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(EnvironmentFault, match="another process runs this sweep"), alone_in(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with alone_in(tmp_path):
        pass
