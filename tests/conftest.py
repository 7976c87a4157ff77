"""What all tests share: one small Ray cluster per test session."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

# Read when Ray is imported, in this process and in those it starts.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray of four CPUs (logical ones: the machine may have fewer)."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
