"""What the doctor finds out on the machine itself, with the real libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr_ray.doctor import machine
from asr_ray.doctor.machine import FORMATS, probe_storage, read_nvidia_smi, try_format, try_kernel
from asr_ray.model import lattice


@pytest.mark.parametrize("name", FORMATS)
def test_this_machine_reads_every_format(name: str) -> None:
    assert try_format(*FORMATS[name]) == ""


def test_a_format_that_cannot_be_written_is_told() -> None:
    assert try_format("FLAC", "MPEG_LAYER_III")


def test_a_decoder_that_loses_the_sound_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "decode_pcm16", lambda audio: np.zeros(8000, dtype=np.int16))
    assert "level of 0.00" in try_format("WAV", "PCM_16")
    monkeypatch.setattr(machine, "decode_pcm16", lambda audio: np.zeros(10, dtype=np.int16))
    assert try_format("WAV", "PCM_16") == "10 samples came back of 8000"


def test_a_library_without_a_format_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(1, "no MP3 here")

    monkeypatch.setattr(soundfile, "write", refuse)
    assert "no MP3 here" in try_format("MP3", "MPEG_LAYER_III")


def test_the_kernel_gives_a_known_result() -> None:
    assert try_kernel() == (torch.version.cuda, "")


def test_a_wrong_or_failing_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object, **keywords: object) -> lattice.Occupancy:
        return lattice.Occupancy(torch.tensor([-0.4]), torch.zeros(1), torch.zeros(1))

    monkeypatch.setattr(lattice, "forward_backward", wrong)
    assert "not -0.5" in try_kernel()[1]

    def failing(*arguments: object, **keywords: object) -> lattice.Occupancy:
        raise RuntimeError("cannot cache function\nat length")

    monkeypatch.setattr(lattice, "forward_backward", failing)
    assert try_kernel()[1] == "cannot cache function"


def test_the_table_of_the_driver() -> None:
    table = "NVIDIA H200, 580.95.05\nNVIDIA H200, 580.95.05\n"
    assert read_nvidia_smi(table) == (("NVIDIA H200", "NVIDIA H200"), "580.95.05")
    assert read_nvidia_smi("No devices were found\n") == ((), None)


def test_a_probe_leaves_its_file_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "runs"
    facts = probe_storage(folder, name=".probe")
    assert (facts.write_error, facts.path) == ("", str(folder))
    assert facts.free_gb is not None
    assert [path.name for path in folder.iterdir()] == [".probe"]


def test_a_folder_that_cannot_be_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    facts = probe_storage(tmp_path / "file" / "runs", name=".probe")
    assert (facts.write_error, facts.free_gb) == ("Not a directory", None)
