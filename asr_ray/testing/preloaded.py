"""What the server imports from which ranks are forked: everything slow."""

from __future__ import annotations

import nemo.collections.asr.models  # noqa: F401

import asr_ray.model.nemo_file
import asr_ray.train.loop  # noqa: F401
