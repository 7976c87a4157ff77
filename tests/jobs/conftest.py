"""Jobs are scripts beside each other; their folder is what Python puts first when one is run."""

from __future__ import annotations

import sys
from pathlib import Path

JOBS = Path(__file__).resolve().parents[2] / "jobs"

sys.path.insert(0, str(JOBS))
