"""An all-reduce between processes, as training does one after each batch."""

from __future__ import annotations

import datetime
import socket
from typing import Literal

Backend = Literal["gloo", "nccl"]


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def all_reduce_error(backend: Backend, *, rank: int, processes: int, master: str, timeout_s: float) -> str:
    """Add up the numbers of all ranks; return what went wrong, or nothing.

    With nccl the sum is also of a product made on the GPU, so that a build of torch without kernels for
    this GPU is found out.

    Args:
        master: host:port on the machine of rank 0.
        timeout_s: how long to wait for the others.
    """
    import torch
    from torch import distributed as dist

    device = torch.device("cuda" if backend == "nccl" else "cpu")
    try:
        dist.init_process_group(
            backend,
            init_method=f"tcp://{master}",
            rank=rank,
            world_size=processes,
            timeout=datetime.timedelta(seconds=timeout_s),
        )
        value = torch.eye(16, device=device) @ torch.full((16,), float(rank), device=device)
        dist.all_reduce(value)
        found = float(value.sum())
    except (RuntimeError, ValueError) as error:  # torch's own errors are RuntimeErrors
        return str(error).strip().partition("\n")[0]
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    expected = 16.0 * sum(range(processes))
    return "" if found == expected else f"the sum over ranks is {found}, not {expected}"
