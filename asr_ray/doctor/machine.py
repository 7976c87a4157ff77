"""Ask the machine that this process runs on; nothing here knows of Ray."""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import uuid
from pathlib import Path

import numpy as np
import soundfile

from asr_ray.data.audio import decode_pcm16
from asr_ray.doctor.facts import MachineFacts, StorageFacts
from asr_ray.doctor.versions import DECISIVE
from asr_ray.records import SAMPLE_RATE
from asr_ray.security import installed_versions, unsafe_opt_ins

FORMATS = {
    "WAV": ("WAV", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "OGG Vorbis": ("OGG", "VORBIS"),
    "Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}
"""What corpora come in -> container and coding, as libsndfile names them."""

_TONE_HZ = 440.0
_PADDING_S = 0.2
"""Codecs work in frames, and MP3 tells of its padding only in tags that not all writers write."""


def machine_facts() -> MachineFacts:
    """Gather everything about this machine; takes the import of torch and numba, some seconds."""
    gpus, driver = nvidia_gpus()
    torch_cuda, kernel_error = try_kernel()
    return MachineFacts(
        python=platform.python_version(),
        versions=installed_versions(dict.fromkeys(DECISIVE)),
        unsafe=tuple(unsafe_opt_ins(os.environ)),
        gpus=gpus,
        driver=driver,
        torch_cuda=torch_cuda,
        kernel_error=kernel_error,
        decode_errors={name: try_format(*coding) for name, coding in FORMATS.items()},
    )


def nvidia_gpus() -> tuple[tuple[str, ...], str | None]:
    """Return names of the GPUs and the version of the driver; nothing without NVIDIA's driver.

    Asked of the driver and not of torch: Ray hides GPUs from a process that did not reserve any.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        return (), None
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return (), None
    return read_nvidia_smi(done.stdout)


def read_nvidia_smi(table: str) -> tuple[tuple[str, ...], str | None]:
    """Return names and driver from lines of `name, driver`."""
    rows = [line.rpartition(", ") for line in table.splitlines() if ", " in line]
    return tuple(row[0].strip() for row in rows), rows[0][2].strip() if rows else None


def try_kernel() -> tuple[str | None, str]:
    """Return the CUDA version torch was built for, and why the compiled loss does not run on the CPU.

    A lattice of one frame and no token holds one path, the blank, so its likelihood is known.
    """
    try:
        import torch
        from numba.core.errors import NumbaError

        from asr_ray.model.lattice import PackedLattice, forward_backward
    except (ImportError, OSError) as error:
        return None, f"torch or numba cannot be imported: {error}"
    lattice, blank = PackedLattice((1,), (0,)), torch.tensor([-0.5])
    try:
        found = float(forward_backward(lattice, blank, torch.zeros(1), backend="numba").log_likelihood[0])
    except (NumbaError, OSError, RuntimeError) as error:
        return torch.version.cuda, str(error).strip().partition("\n")[0]
    return torch.version.cuda, "" if found == -0.5 else f"the loss of a known lattice is {found}, not -0.5"


def try_format(container: str, coding: str) -> str:
    """Write half a second of a tone and read it as corpora are read; return what went wrong."""
    time_s = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    tone = (0.5 * np.sin(2 * np.pi * _TONE_HZ * time_s)).astype(np.float32)
    file = io.BytesIO()
    try:
        soundfile.write(file, tone, SAMPLE_RATE, format=container, subtype=coding)
        samples = decode_pcm16(file.getvalue()).astype(np.float32) / 32768
    except (soundfile.SoundFileError, ValueError) as error:
        return str(error)
    if abs(len(samples) - len(tone)) > _PADDING_S * SAMPLE_RATE:
        return f"{len(samples)} samples came back of {len(tone)}"
    loudness = float(np.sqrt(np.mean(np.square(samples))))
    return "" if 0.2 < loudness < 0.5 else f"a tone of 0.35 came back with a level of {loudness:.2f}"


def probe_storage(folder: Path, *, name: str) -> StorageFacts:
    """Write a file, rename it, read it back and leave it for the driver to find.

    A commit of a checkpoint is a rename; some network file systems fail at just that.

    Args:
        name: of the file, which is also its content.
    """
    temporary, final = folder / f".{uuid.uuid4().hex}", folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free_gb = shutil.disk_usage(folder).free / 1e9
        temporary.write_text(name, encoding="utf-8")
        temporary.rename(final)
        written = final.read_text(encoding="utf-8")
    except OSError as error:
        return StorageFacts(path=str(folder), free_gb=None, write_error=error.strerror or str(error))
    wrong = "" if written == name else "a renamed file holds something else"
    return StorageFacts(path=str(folder), free_gb=free_gb, write_error=wrong)
