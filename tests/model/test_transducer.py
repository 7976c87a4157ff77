"""The packed transducer loss against NeMo's losses and against sums over all paths, in value and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr_ray.errors import ConfigError, DataError
from asr_ray.model.transducer import Activation, transducer_loss

Loss = Callable[..., Tensor]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Problem:
    """One random batch; `parameters` are encoded, predicted, output weight, output bias."""

    parameters: tuple[Tensor, ...]
    tokens: Tensor
    num_frames: Tensor
    num_tokens: Tensor
    activation: Activation = "relu"

    @property
    def blank(self) -> int:
        return len(self.parameters[3]) - 1

    def to(self, dtype: torch.dtype) -> Problem:
        return replace(self, parameters=tuple(p.detach().to(dtype).requires_grad_() for p in self.parameters))

    def loss(self, **options: Any) -> Tensor:
        encoded, predicted, weight, bias = self.parameters
        return transducer_loss(
            encoded,
            predicted,
            output_weight=weight,
            output_bias=bias,
            tokens=self.tokens,
            num_frames=self.num_frames,
            num_tokens=self.num_tokens,
            blank=self.blank,
            activation=self.activation,
            **options,
        )

    def logits(self) -> Tensor:
        """[B, T, U + 1, V + 1], the tensor the loss avoids."""
        encoded, predicted, weight, bias = self.parameters
        hidden = ACTIVATIONS[self.activation](encoded.unsqueeze(2) + predicted.unsqueeze(1))
        return hidden @ weight.T + bias

    def gradients(self, losses: Tensor, weights: Tensor | None = None) -> tuple[Tensor, ...]:
        weights = torch.ones_like(losses) if weights is None else weights.to(losses.dtype)
        return torch.autograd.grad((losses * weights).sum(), self.parameters)


def make_problem(
    num_frames: list[int],
    num_tokens: list[int],
    *,
    num_pieces: int = 5,
    hidden: int = 4,
    seed: int = 0,
    activation: Activation = "relu",
) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    batch, frames, tokens = len(num_frames), max(1, *num_frames), max(0, *num_tokens)
    shapes = (
        (batch, frames, hidden),
        (batch, tokens + 1, hidden),
        (num_pieces + 1, hidden),
        (num_pieces + 1,),
    )
    return Problem(
        parameters=tuple(torch.randn(s, generator=generator).requires_grad_() for s in shapes),
        tokens=torch.randint(num_pieces, (batch, tokens), generator=generator),
        num_frames=torch.tensor(num_frames),
        num_tokens=torch.tensor(num_tokens),
        activation=activation,
    )


@st.composite
def problems(draw: st.DrawFn, *, min_frames: int = 1) -> Problem:
    batch = draw(st.integers(1, 4))
    lengths = st.lists(st.integers(min_frames, 7), min_size=batch, max_size=batch)
    counts = st.lists(st.integers(0, 6), min_size=batch, max_size=batch)
    return make_problem(
        draw(lengths),
        draw(counts),
        num_pieces=draw(st.integers(1, 9)),
        hidden=draw(st.integers(1, 6)),
        seed=draw(st.integers(0, 2**31)),
        activation=draw(st.sampled_from(list(ACTIVATIONS))),
    )


def sum_over_paths(problem: Problem, utterance: int) -> Tensor:
    """-log of the sum of the probabilities of every path, each written out: the definition."""
    log_probs = problem.logits()[utterance].log_softmax(-1)
    frames, tokens = int(problem.num_frames[utterance]), int(problem.num_tokens[utterance])
    paths = []
    # A path is T + U arcs, the last one a blank; choose which of the others are tokens.
    for token_arcs in combinations(range(frames + tokens - 1), tokens):
        t = u = 0
        score = log_probs.new_zeros(())
        for arc in range(frames + tokens):
            if arc in token_arcs:
                score = score + log_probs[t, u, problem.tokens[utterance, u]]
                u += 1
            else:
                score = score + log_probs[t, u, problem.blank]
                t += 1
        paths.append(score)
    return -torch.stack(paths).logsumexp(0)


def assert_same_gradients(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...], atol: float) -> None:
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e.to(a.dtype), rtol=0, atol=atol)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def nemo_pytorch() -> Callable[[Problem], Tensor]:
    """NeMo's differentiable reference.

    It allocates its lattice in the default dtype, and in float32 its gradients are off by more than the
    tolerance (1.5e-5 on the sizes below, where ours are off by 4e-6), so it runs in float64.
    """
    from nemo.collections.asr.losses.rnnt_pytorch import RNNTLossPytorch

    def losses(problem: Problem) -> Tensor:
        lengths = (problem.num_frames, problem.num_tokens)
        with default_dtype(torch.float64):
            reference = RNNTLossPytorch(blank=problem.blank, reduction="none")
            result: Tensor = reference.forward(problem.logits(), problem.tokens, *lengths)
            return result

    return losses


@pytest.fixture(scope="session")
def nemo_numba() -> Callable[[int, float], Loss]:
    """NeMo's default loss, by blank index and FastEmit lambda."""
    from nemo.collections.asr.parts.numba.rnnt_loss import RNNTLossNumba

    return lambda blank, fastemit: RNNTLossNumba(blank=blank, reduction="none", fastemit_lambda=fastemit)


@settings(max_examples=60)
@given(problem=problems(), tile_cells=st.integers(1, 40), scale=st.floats(-2, 2))
def test_equals_nemo_reference(
    nemo_pytorch: Callable[[Problem], Tensor], problem: Problem, tile_cells: int, scale: float
) -> None:
    losses = problem.loss(tile_cells=tile_cells)
    exact = problem.to(torch.float64)
    expected = nemo_pytorch(exact)

    torch.testing.assert_close(losses, expected.float(), rtol=1e-5, atol=1e-6)
    weights = torch.linspace(scale, 1.0, len(losses))
    assert_same_gradients(problem.gradients(losses, weights), exact.gradients(expected, weights), atol=1e-5)


@settings(max_examples=15)
@given(problem=problems(), fastemit_lambda=st.sampled_from([0.0, 0.005, 0.3]))
def test_equals_nemo_default_loss_with_fastemit(
    nemo_numba: Callable[[int, float], Loss], problem: Problem, fastemit_lambda: float
) -> None:
    losses = problem.loss(fastemit_lambda=fastemit_lambda)
    expected = nemo_numba(problem.blank, fastemit_lambda)(
        problem.logits(), problem.tokens, problem.num_frames, problem.num_tokens
    )
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    assert_same_gradients(problem.gradients(losses), problem.gradients(expected), atol=5e-5)


@pytest.mark.parametrize(("frames", "tokens"), [(1, 0), (1, 4), (4, 0), (3, 3), (2, 5), (5, 2)])
def test_equals_the_sum_over_all_paths(frames: int, tokens: int) -> None:
    problem = make_problem([frames], [tokens], activation="tanh").to(torch.float64)
    losses, expected = problem.loss(), sum_over_paths(problem, 0)
    torch.testing.assert_close(losses[0], expected, rtol=1e-12, atol=0)
    assert_same_gradients(problem.gradients(losses), problem.gradients(expected), atol=1e-12)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_gradcheck(activation: Activation) -> None:
    problem = make_problem([3, 0, 4], [2, 1, 0], activation=activation).to(torch.float64)

    def loss(*parameters: Tensor) -> Tensor:
        return replace(problem, parameters=parameters).loss(tile_cells=5)

    assert torch.autograd.gradcheck(loss, problem.parameters)


def test_gradcheck_with_dropout() -> None:
    """The backward pass sees the masks of the forward pass."""
    problem = make_problem([3, 4], [2, 1]).to(torch.float64)

    def loss(*parameters: Tensor) -> Tensor:
        torch.manual_seed(7)
        return replace(problem, parameters=parameters).loss(dropout=0.4, tile_cells=5)

    assert torch.autograd.gradcheck(loss, problem.parameters)


def test_dropout_follows_the_random_state() -> None:
    problem = make_problem([4, 4], [3, 2], hidden=32)
    torch.manual_seed(1)
    first, second = problem.loss(dropout=0.5), problem.loss(dropout=0.5)
    torch.manual_seed(1)
    assert torch.equal(problem.loss(dropout=0.5), first)
    assert not torch.equal(second, first)


def test_dropout_draws_another_mask_for_each_tile() -> None:
    encoded, predicted, weight, bias = make_problem([1], [0], hidden=32).parameters
    twins = Problem(
        parameters=(encoded.repeat(2, 1, 1), predicted.repeat(2, 1, 1), weight, bias),
        tokens=torch.zeros(2, 0, dtype=torch.int64),
        num_frames=torch.tensor([1, 1]),
        num_tokens=torch.tensor([0, 0]),
    )
    first, second = twins.loss(dropout=0.5, tile_cells=1)
    assert first != second


def test_dropout_keeps_the_expected_logits() -> None:
    """A logit that averages 4,096 equal elements hardly notices which of them are dropped."""
    problem = make_problem([1], [0], num_pieces=1, hidden=4096)
    weight = torch.stack((torch.zeros(4096), torch.full((4096,), 2 / 4096)))
    ones, zeros = torch.ones(1, 1, 4096), torch.zeros(1, 1, 4096)
    average = replace(problem, parameters=(ones, zeros, weight, torch.zeros(2)))
    expected = math.log1p(math.exp(-2))
    assert average.loss().item() == pytest.approx(expected)
    assert average.loss(dropout=0.3).item() == pytest.approx(expected, abs=0.02)


def test_evaluation_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    make_problem([3], [2]).loss()
    assert torch.equal(torch.get_rng_state(), before)


@settings(max_examples=30)
@given(problem=problems(min_frames=0), tile_cells=st.integers(1, 60))
def test_tile_size_changes_nothing(problem: Problem, tile_cells: int) -> None:
    problem = problem.to(torch.float64)
    whole, tiled = problem.loss(tile_cells=10_000), problem.loss(tile_cells=tile_cells)
    torch.testing.assert_close(tiled, whole)
    assert_same_gradients(problem.gradients(tiled), problem.gradients(whole), atol=1e-12)


def test_utterance_without_frames_contributes_nothing() -> None:
    problem = make_problem([4, 0, 3], [2, 2, 1])
    losses = problem.loss()
    gradients = problem.gradients(losses)
    assert losses[1] == 0
    assert not gradients[0][1].any()
    assert not gradients[1][1].any()

    kept = torch.tensor([0, 2])
    encoded, predicted, weight, bias = problem.parameters
    without = replace(
        problem,
        parameters=(encoded[kept], predicted[kept], weight, bias),
        tokens=problem.tokens[kept],
        num_frames=problem.num_frames[kept],
        num_tokens=problem.num_tokens[kept],
    )
    torch.testing.assert_close(losses[kept], without.loss())
    expected = torch.autograd.grad(without.loss().sum(), (weight, bias))
    assert_same_gradients(gradients[2:], expected, atol=1e-6)


def test_batch_without_any_frame() -> None:
    problem = make_problem([0, 0], [2, 0])
    losses = problem.loss()
    assert losses.tolist() == [0.0, 0.0]
    assert not any(gradient.any() for gradient in problem.gradients(losses))


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_padding_is_never_read(poison: float) -> None:
    problem = make_problem([2, 5], [3, 1])
    expected = problem.loss()
    encoded, predicted, weight, bias = (p.detach().clone() for p in problem.parameters)
    encoded[0, 2:] = poison
    predicted[1, 2:] = poison
    tokens = problem.tokens.clone()
    tokens[1, 1:] = -100
    poisoned = replace(
        problem,
        parameters=tuple(p.requires_grad_() for p in (encoded, predicted, weight, bias)),
        tokens=tokens,
    )
    losses = poisoned.loss()
    assert torch.equal(losses, expected)
    gradients = poisoned.gradients(losses)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not gradients[0][0, 2:].any()
    assert not gradients[1][1, 2:].any()


def test_blank_may_be_any_output() -> None:
    problem = make_problem([3, 4], [2, 3])
    order = torch.tensor([5, 0, 1, 2, 3, 4])
    encoded, predicted, weight, bias = problem.parameters
    losses = transducer_loss(
        encoded,
        predicted,
        output_weight=weight[order],
        output_bias=bias[order],
        tokens=problem.tokens + 1,
        num_frames=problem.num_frames,
        num_tokens=problem.num_tokens,
        blank=0,
    )
    torch.testing.assert_close(losses, problem.loss())


def test_strided_inputs() -> None:
    problem = make_problem([3, 4], [2, 3])
    strided = tuple(p.detach().mT.contiguous().mT for p in problem.parameters[:3])
    assert not strided[0].is_contiguous()
    same = replace(problem, parameters=(*strided, problem.parameters[3]))
    torch.testing.assert_close(same.loss(), problem.loss())


@pytest.mark.parametrize("trained", range(4))
def test_only_one_input_trained(trained: int) -> None:
    problem = make_problem([3, 4], [2, 3])
    expected = problem.gradients(problem.loss())
    parameters = [p.detach().requires_grad_(i == trained) for i, p in enumerate(problem.parameters)]
    replace(problem, parameters=tuple(parameters)).loss().sum().backward()
    torch.testing.assert_close(parameters[trained].grad, expected[trained])
    assert all(p.grad is None for i, p in enumerate(parameters) if i != trained)


def test_no_gradient_wanted() -> None:
    with torch.no_grad():
        assert not make_problem([3], [2]).loss().requires_grad


def test_autocast_computes_in_bfloat16_and_returns_gradients_in_float32() -> None:
    problem = make_problem([6, 9], [4, 3], num_pieces=30, hidden=16)
    expected = problem.loss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = problem.loss()
    assert losses.dtype == torch.float32
    assert not torch.equal(losses, expected)
    torch.testing.assert_close(losses, expected, rtol=0.02, atol=0)
    gradients, reference = problem.gradients(losses), problem.gradients(expected)
    assert {g.dtype for g in gradients} == {torch.float32}
    assert_same_gradients(gradients, reference, atol=0.1)


def test_bfloat16_activations_with_float32_weights() -> None:
    problem = make_problem([6, 9], [4, 3], num_pieces=30, hidden=16)
    encoded, predicted, weight, bias = problem.parameters
    mixed = replace(problem, parameters=(encoded.bfloat16(), predicted.bfloat16(), weight, bias))
    losses = mixed.loss()
    torch.testing.assert_close(losses, problem.loss(), rtol=0.02, atol=0)
    assert [g.dtype for g in mixed.gradients(losses)] == [torch.bfloat16] * 2 + [torch.float32] * 2


def test_cells_off_every_likely_path() -> None:
    """Confident models leave most cells with a gradient below rounding; leaving those out changes nothing."""
    diffuse = make_problem([60], [20], num_pieces=30)
    encoded, predicted, weight, bias = diffuse.parameters
    problem = replace(diffuse, parameters=(encoded, predicted, weight * 4, bias)).to(torch.float32)
    exact = problem.to(torch.float64)
    gradients, expected = problem.gradients(problem.loss()), exact.gradients(exact.loss())
    for ours, theirs in zip(gradients, expected, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs.float(), rtol=0, atol=1e-5 * scale)


def test_nan_reaches_loss_and_gradient() -> None:
    problem = make_problem([4, 3], [2, 1]).to(torch.float32)
    with torch.no_grad():
        problem.parameters[0][0, 1, 0] = torch.nan
    losses = problem.loss()
    assert losses.isnan().tolist() == [True, False]
    assert problem.gradients(losses)[2].isnan().any()


def test_long_lattice_stays_finite() -> None:
    """Likelihoods far below the smallest float32."""
    problem = make_problem([300], [80], num_pieces=50)
    losses = problem.loss()
    assert losses.item() > 500
    assert all(gradient.isfinite().all() for gradient in problem.gradients(losses))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"tokens": torch.zeros(2, 9, dtype=torch.int64)}, "predicted"),
        ({"num_frames": torch.tensor([3])}, "num_frames"),
        ({"num_tokens": torch.tensor([[2, 3]])}, "num_tokens"),
        ({"activation": "gelu"}, "gelu"),
        ({"tokens": torch.zeros(3, dtype=torch.int64)}, "encoded, tokens and output_weight"),
    ],
)
def test_inconsistent_arguments(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        replace(make_problem([3, 4], [2, 3]), **changes).loss()


@pytest.mark.parametrize(
    "options", [{"dropout": 1.0}, {"fastemit_lambda": -0.1}, {"tile_cells": 0}], ids=lambda o: next(iter(o))
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_problem([3], [2]).loss(**options)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"num_frames": torch.tensor([3, 5])}, "num_frames of utterance 1 of the batch is 5"),
        ({"num_tokens": torch.tensor([-1, 3])}, "num_tokens of utterance 0 of the batch is -1"),
        ({"tokens": torch.tensor([[0, 1, 2], [0, 5, 2]])}, "token 5 at position 1 of utterance 1"),
        ({"tokens": torch.tensor([[0, -1, 2], [0, 1, 2]])}, "token -1 at position 1 of utterance 0"),
    ],
)
def test_lengths_and_tokens_out_of_range(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(DataError, match=names):
        replace(make_problem([3, 4], [2, 3]), **changes).loss()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_gpu_equals_cpu(dropout: float) -> None:
    """On a GPU the masks differ, so with dropout only finiteness and repeatability are compared."""
    problem = make_problem([20, 0, 13], [7, 2, 0], num_pieces=40, hidden=16).to(torch.float64)
    expected = problem.gradients(problem.loss())
    on_gpu = replace(
        problem,
        parameters=tuple(p.detach().cuda().requires_grad_() for p in problem.parameters),
        tokens=problem.tokens.cuda(),
        num_frames=problem.num_frames.cuda(),
        num_tokens=problem.num_tokens.cuda(),
    )
    torch.manual_seed(0)
    first = on_gpu.gradients(on_gpu.loss(dropout=dropout, tile_cells=50))
    torch.manual_seed(0)
    again = on_gpu.gradients(on_gpu.loss(dropout=dropout, tile_cells=50))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    if not dropout:
        assert_same_gradients(tuple(g.cpu() for g in first), expected, atol=1e-9)
