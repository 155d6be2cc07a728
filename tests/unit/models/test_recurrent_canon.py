"""What the lecture says of recurrent networks, held against the layers: gradients through time and their clipping."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data.worlds.adding import TRIVIAL_ERROR, adding
from models.data.worlds.timing import LONGEST, SHORTEST, timing
from models.nn.gradient_norms import gradient_norms
from models.nn.output_recurrence import OutputRecurrence
from models.nn.recurrent import Cell, RecurrentLayer
from models.optimization import clip_gradient

STEPS = 50
HIDDEN = 16


def _generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _layer(cell: Cell, hidden: int = HIDDEN, inputs: int = 3) -> RecurrentLayer:
    return RecurrentLayer(cell, inputs, hidden, _generator()).double()


def _orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=_generator(2)))[0]


def _set(layer: RecurrentLayer, **values: Tensor) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for name, value in values.items():
            cast("Tensor", getattr(layer, name)).copy_(value)


def _norms(layer: RecurrentLayer, scale: float = 0.0) -> Tensor:
    inputs = scale * torch.randn(4, STEPS, 3, dtype=torch.float64, generator=_generator(3))
    direction = torch.full((layer.hidden,), layer.hidden**-0.5, dtype=torch.float64)
    return gradient_norms(layer, inputs, direction)


# --- vanishing and exploding (Pascanu et al. 2013, §2.1) -------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_gradient_of_a_scaled_rotation_shrinks_or_grows_by_its_factor_a_step(factor: float) -> None:
    """At zero tanh has slope 1: with W = λ Q the norm is λ^k exactly, 0.005 after 50 steps of 0.9, 117 of 1.1."""
    layer = _layer("rnn")
    _set(layer, weight_hidden=factor * _orthogonal(HIDDEN))
    wanted = factor ** torch.arange(STEPS, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(_norms(layer), wanted)


def test_gradient_of_a_classical_network_is_bounded_by_its_largest_singular_value() -> None:
    """With inputs the slopes of tanh are below 1: no norm is above λ^k, and at λ = 0.9 it is under 0.006 after 50."""
    layer = _layer("rnn")
    inputs = torch.randn(HIDDEN, 3, dtype=torch.float64, generator=_generator(4))
    _set(layer, weight_hidden=0.9 * _orthogonal(HIDDEN), weight_input=inputs)
    bound = 0.9 ** torch.arange(STEPS, -1, -1, dtype=torch.float64)
    norms = _norms(layer, scale=1.0)
    assert bool((norms <= bound * (1 + 1e-12)).all())
    assert float(norms[0]) < 6e-3


def test_memory_without_forget_gate_carries_the_gradient_unchanged() -> None:
    """The constant error carousel (Hochreiter and Schmidhuber 1997, §3.2): ∂c_T/∂c_0 = 1 where no path is gated."""
    layer = _layer("lstm_without_forget_gate")
    _set(layer)  # gates at 1/2, candidate 0: the memory stays, the hidden state reads half of its tanh
    norms = _norms(layer)
    torch.testing.assert_close(norms[:STEPS], torch.full((STEPS,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("bias", [-1.0, 0.0, 1.0, 5.0])
def test_forget_gate_multiplies_the_gradient_each_step(bias: float) -> None:
    """Gers et al. (2000): by σ(b) a step, 0.731 at the bias of 1 that layers begin with; open, it is the carousel."""
    layer = _layer("lstm")
    biases = torch.zeros(4 * HIDDEN, dtype=torch.float64)
    biases[HIDDEN : 2 * HIDDEN] = bias
    _set(layer, bias_input=biases)
    gate = 1 / (1 + math.exp(-bias))
    wanted = 0.5 * gate ** torch.arange(STEPS - 1, -1, -1, dtype=torch.float64)
    # At the last step the hidden state reads the memory as it is then; one step before, through the gate.
    torch.testing.assert_close(_norms(layer)[:STEPS], wanted * gate)


def test_untrained_gated_layers_keep_more_of_the_gradient_than_the_classical_one() -> None:
    """As they are drawn: after 50 steps a classical layer keeps less than a gated one, and the carousel most."""
    kept = {
        cell: float(_norms(_layer(cell), scale=1.0)[0]) for cell in ("rnn", "lstm", "gru", "lstm_without_forget_gate")
    }
    assert kept["rnn"] < 1e-6
    assert kept["rnn"] < kept["gru"]
    assert kept["rnn"] < kept["lstm"] < kept["lstm_without_forget_gate"]
    assert kept["lstm_without_forget_gate"] > 0.01


# --- backpropagation through time by hand (Goodfellow §10.2.2, Eq. 10.17 to 10.28) ------------------------------------


def test_bptt_equals_the_unrolled_derivative_by_hand() -> None:
    """Softmax outputs at every step: ∇o = ŷ − y, ∇h_t = Wᵀ(1 − h_t+1²)∇h_t+1 + Vᵀ∇o_t, and the sums over time."""
    layer = _layer("rnn", hidden=5, inputs=4)
    steps = 7
    x = torch.randn(1, steps, 4, dtype=torch.float64, generator=_generator(5))
    labels = torch.tensor([0, 2, 1, 1, 0, 2, 2])
    v = torch.randn(3, 5, dtype=torch.float64, generator=_generator(6), requires_grad=True)
    c = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    hidden, _ = layer(x)
    logits = hidden[0] @ v.T + c
    torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()

    w, u = layer.weight_hidden.detach().numpy(), layer.weight_input.detach().numpy()
    states = np.concatenate([np.zeros((1, 5)), hidden[0].detach().numpy()])
    probabilities = logits.detach().softmax(dim=1).numpy()
    delta_o = probabilities - np.eye(3)[labels.numpy()]  # Eq. 10.18
    delta_h = np.zeros((steps + 1, 5))
    grads = {"w": np.zeros_like(w), "u": np.zeros_like(u), "b": np.zeros(5), "v": np.zeros((3, 5)), "c": np.zeros(3)}
    for time in range(steps, 0, -1):
        delta_h[time] = v.detach().numpy().T @ delta_o[time - 1]  # Eq. 10.19
        if time < steps:
            delta_h[time] += w.T @ ((1 - states[time + 1] ** 2) * delta_h[time + 1])  # Eq. 10.20 and 10.21
        inner = (1 - states[time] ** 2) * delta_h[time]
        grads["c"] += delta_o[time - 1]  # Eq. 10.22
        grads["b"] += inner  # Eq. 10.23
        grads["v"] += np.outer(delta_o[time - 1], states[time])  # Eq. 10.24
        grads["w"] += np.outer(inner, states[time - 1])  # Eq. 10.26
        grads["u"] += np.outer(inner, x[0, time - 1].numpy())  # Eq. 10.28
    found = {"w": layer.weight_hidden, "u": layer.weight_input, "b": layer.bias_hidden, "v": v, "c": c}
    for name, parameter in found.items():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), grads[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_output_deltas_of_the_lecture_equal_autograd(output: str) -> None:
    """With its own loss each output unit has δ = ŷ − y at every step, whatever comes before it."""
    module = OutputRecurrence(3, 4, 5, _generator()).double()
    inputs = torch.randn(2, 6, 3, dtype=torch.float64, generator=_generator(7))
    logits = module.generate(inputs)
    target = torch.randint(2, logits.shape, generator=_generator(8)).double()
    match output:
        case "softmax":
            target = target.argmax(dim=2, keepdim=True) == torch.arange(4)
            predicted = logits.softmax(dim=2)
            loss = -(predicted.log() * target).sum()
        case "sigmoid":
            predicted = logits.sigmoid()
            loss = -(target * predicted.log() + (1 - target) * (1 - predicted).log()).sum()
        case _:
            predicted = logits
            loss = 0.5 * (predicted - target).square().sum()
    (delta,) = torch.autograd.grad(loss, logits)  # what later steps make of an output comes in by another way
    torch.testing.assert_close(delta, predicted - target.double())


# --- clipping (Pascanu et al. 2013, §3.2; Goodfellow Eq. 10.48 and 10.49) --------------------------------------------


@pytest.mark.parametrize("norm", [0.5, 1.0, 3.0, 1e15])
def test_clipping_keeps_the_direction_and_bounds_the_norm(norm: float) -> None:
    """Becomes g v / ‖g‖ when ‖g‖ > v and stays as it is else, over all parameters together."""
    parameters = [torch.zeros(shape, requires_grad=True) for shape in ((3, 2), (4,))]
    gradient = torch.randn(10, dtype=torch.float64, generator=_generator(9))
    gradient = (gradient / gradient.norm() * norm).float()
    parameters[0].grad, parameters[1].grad = gradient[:6].view(3, 2).clone(), gradient[6:].clone()
    clip_gradient(parameters, 1.0)
    found = torch.cat([cast("Tensor", parameter.grad).flatten() for parameter in parameters])
    if norm <= 1:
        assert torch.equal(found, gradient) or torch.allclose(found, gradient, rtol=1e-6)
    assert float(found.norm()) == pytest.approx(min(norm, 1.0), rel=1e-5)
    assert float(torch.nn.functional.cosine_similarity(found, gradient / norm, dim=0)) == pytest.approx(1, abs=1e-6)


# --- the worlds -------------------------------------------------------------------------------------------------------


def test_adding_marks_one_number_in_each_half_and_asks_their_sum() -> None:
    inputs, sums = adding(20_000, 10, np.random.default_rng(1))
    assert (inputs[:, :5, 1].sum(axis=1) == 1).all()
    assert (inputs[:, 5:, 1].sum(axis=1) == 1).all()
    np.testing.assert_allclose((inputs[:, :, 0] * inputs[:, :, 1]).sum(axis=1), sums, rtol=1e-6)
    assert np.square(sums - 1).mean() == pytest.approx(TRIVIAL_ERROR, rel=0.03)


def test_timing_fires_once_after_the_interval_that_is_told() -> None:
    inputs, fire = timing(500, np.random.default_rng(1))
    assert (fire.sum(axis=1) == 1).all()
    intervals = fire.argmax(axis=1)
    assert set(intervals) == set(range(SHORTEST, LONGEST + 1))
    np.testing.assert_allclose(inputs[:, 0, 1] * LONGEST, intervals, rtol=1e-6)
    assert (inputs[:, 0, 0] == 1).all()
    assert not inputs[:, 1:, 0].any()
