"""An all-reduce that works, and the ways in which it does not."""

from __future__ import annotations

import torch

from asr_ray.doctor.collective import all_reduce_error, free_port


def test_a_sum_that_arrives_is_no_error() -> None:
    # Of one process; tests/doctor/test_cluster.py lets two add up.
    master = f"127.0.0.1:{free_port()}"
    assert all_reduce_error("gloo", rank=0, processes=1, master=master, timeout_s=20) == ""


def test_one_that_waits_in_vain_says_so() -> None:
    master = f"127.0.0.1:{free_port()}"
    assert all_reduce_error("gloo", rank=0, processes=2, master=master, timeout_s=1)


def test_a_missing_gpu_is_an_answer() -> None:
    if torch.cuda.is_available():
        return
    master = f"127.0.0.1:{free_port()}"
    assert "NCCL" in all_reduce_error("nccl", rank=0, processes=1, master=master, timeout_s=5)
