"""Real steps of a model of 0.1 million parameters; memory runs out by decree, for there is no GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_ray.errors import EnvironmentFault
from asr_ray.model.nemo_file import load_model
from asr_ray.settings import ResourceSettings, TrainSettings
from asr_ray.train.calibration.measure import (
    TorchBench,
    describe_device,
    limited_memory,
    made_up_batch,
    training_device,
)
from asr_ray.train.calibration.record import Shape

Configure = Callable[..., TrainSettings]

CPU = torch.device("cpu")
SMALL = Shape(utterances=2, duration_s=0.5, num_tokens=3)
LARGE = Shape(utterances=3, duration_s=0.5, num_tokens=3)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def bench_on(device: torch.device, *, settings: TrainSettings, model: Any) -> TorchBench:
    return TorchBench(settings, model=model, device=device, num_pieces=256, prompt_slot=0)


@pytest.fixture
def bench(configure: Configure, micro_nemo: Path) -> TorchBench:
    return bench_on(CPU, settings=configure(), model=load_model(micro_nemo))


@pytest.fixture
def small_memory(bench: TorchBench) -> Iterator[list[int]]:
    """Let a forward pass of more than two utterances run out of memory; the sizes that were tried."""
    tried: list[int] = []

    def refuse(module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(arguments[0]))
        if len(arguments[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = bench.objective.register_forward_pre_hook(refuse)
    yield tried
    handle.remove()


def test_a_step_is_timed_and_moves_no_weight(bench: TorchBench) -> None:
    before = [weight.detach().clone() for weight in bench.parameters]

    point = bench.step(SMALL)

    assert (point.shape, point.peak_bytes) == (SMALL, None)
    assert point.step_s > 0
    assert all(torch.equal(*pair) for pair in zip(before, bench.parameters, strict=True))
    # It was a whole step: every trained weight has its moments, and no gradient is left.
    assert len(bench.optimizer.state) == len(bench.parameters)
    assert any(state["exp_avg"].abs().max() > 0 for state in bench.optimizer.state.values())
    assert all(weight.grad is None for weight in bench.parameters)


def test_only_what_is_trained_is_stepped(configure: Configure, micro_nemo: Path) -> None:
    whole = bench_on(CPU, settings=configure(), model=load_model(micro_nemo))
    frozen = bench_on(CPU, settings=configure("model.freeze=encoder"), model=load_model(micro_nemo))
    assert 0 < len(frozen.parameters) < len(whole.parameters)


def test_what_does_not_fit_leaves_nothing_behind(bench: TorchBench, small_memory: list[int]) -> None:
    assert (bench.fits(SMALL), bench.fits(LARGE), bench.fits(SMALL)) == (True, False, True)
    assert small_memory == [2, 3, 2]
    assert all(weight.grad is None for weight in bench.parameters)


def test_memory_that_runs_out_on_the_way_back_is_given_back(
    bench: TorchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def run_out(module: Any, arguments: Any, loss: torch.Tensor) -> torch.Tensor:
        def refuse(gradient: torch.Tensor) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        loss.register_hook(refuse)
        losses.append(weakref.ref(loss))
        return loss

    def drop_gradients(set_to_none: bool) -> None:
        alive.append(losses[-1]() is not None)

    bench.objective.register_forward_hook(run_out)
    monkeypatch.setattr(bench.optimizer, "zero_grad", drop_gradients)
    assert not bench.fits(SMALL)
    # By the time that the cache is emptied, nothing of the failed step is held.
    assert alive == [False]


@pytest.mark.usefixtures("small_memory")
def test_a_batch_to_be_timed_that_does_not_fit_is_named(bench: TorchBench) -> None:
    with pytest.raises(EnvironmentFault, match=r"3 utterances of 0\.5 s and 3 tokens does not fit"):
        bench.step(LARGE)


def test_other_errors_are_not_taken_for_a_lack_of_memory(bench: TorchBench) -> None:
    def broken(module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    bench.objective.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        bench.fits(SMALL)


def test_made_up_batches_have_their_shape_and_are_the_same_each_time() -> None:
    one, other = (made_up_batch(LARGE, num_pieces=7, prompt_slot=5) for _ in range(2))

    assert one.audio.shape == (3, 8000)
    assert (one.tokens.shape, int(one.tokens.max()) < 7) == ((3, 3), True)
    assert one.audio_s == pytest.approx(LARGE.padded_s)
    assert np.array_equal(one.audio, other.audio)
    assert set(one.prompt_slots.tolist()) == {5}
    assert 1000 < one.audio.std() < 10_000


def test_the_cpu_is_named_with_its_threads_and_without_a_memory_of_its_own() -> None:
    device = describe_device(training_device(use_gpu=False))
    assert device.name
    assert (device.memory_bytes, device.threads) == (None, torch.get_num_threads())
    with limited_memory(CPU, headroom=0.5):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said_so() -> None:
    with pytest.raises(EnvironmentFault, match="sees no GPU"):
        training_device(use_gpu=ResourceSettings(gpus_per_worker=1).use_gpu)


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_tells_its_memory_and_refuses_what_is_too_much(configure: Configure, micro_nemo: Path) -> None:
    device = training_device(use_gpu=True)
    bench = bench_on(device, settings=configure(), model=load_model(micro_nemo, device=device))
    small, large = (
        bench.step(SMALL).peak_bytes,
        bench.step(Shape(utterances=40, duration_s=5.0, num_tokens=20)),
    )
    assert small is not None
    assert large.peak_bytes is not None
    assert small < large.peak_bytes
    total = describe_device(device).memory_bytes
    assert total is not None
    with limited_memory(device, headroom=1.0 - 1.2 * torch.cuda.memory_reserved(device) / total):
        assert bench.fits(SMALL)
        assert not bench.fits(Shape(utterances=1000, duration_s=5.0, num_tokens=20))
        assert bench.fits(SMALL)
