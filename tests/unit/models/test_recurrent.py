"""Recurrent layers against torch's own, a hand-written recursion, symmetries, and their graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.contract.tensors import PartSignature, TensorSignature
from models.family import Export
from models.nn.recurrent import GATES, Cell, Recurrent, RecurrentLayer, reversed_in_time
from models.nn.recurrent_export import onnx_twin
from workers.exporting import onnx, torchscript

CELLS: tuple[Cell, ...] = get_args(Cell)
LENGTHS = torch.tensor([7, 3, 1, 5])
MASK = torch.arange(7) < LENGTHS.unsqueeze(1)
TORCH: dict[Cell, Callable[..., nn.Module]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(width: int = 5) -> Tensor:
    return torch.randn(4, 7, width, generator=generator(2))


def made(cell: Cell, *, layers: int = 1, both: bool = True, dropout: float = 0.0) -> Recurrent:
    module = Recurrent(cell, 5, 6, generator(), layers=layers, bidirectional=both, dropout=dropout)
    for parameter in module.parameters():  # biases too, so that mistaking one gate's for another's shows
        with torch.no_grad():
            parameter.uniform_(-0.7, 0.7, generator=generator(parameter.numel()))
    return module.eval()


@pytest.mark.parametrize("cell", TORCH)
@pytest.mark.parametrize("layers", [1, 2])
def test_equals_torch_with_packed_sequences(cell: Cell, layers: int) -> None:
    """Outputs and last states of two directions and several layers, for rows of different lengths."""
    ours, inputs = made(cell, layers=layers), batch()
    theirs = TORCH[cell](5, 6, layers, batch_first=True, bidirectional=True)
    for name, parameter in theirs.named_parameters():
        number, backward = int(name.split("_l")[1][0]), name.endswith("_reverse")
        layer = cast("RecurrentLayer", cast("nn.ModuleList", ours.layers[number])[int(backward)])
        own = name.split("_l")[0].replace("_ih", "_input").replace("_hh", "_hidden")
        with torch.no_grad():
            parameter.copy_(getattr(layer, own))
    packed = nn.utils.rnn.pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False)
    found, last = theirs(packed)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(found, batch_first=True)
    outputs, states = ours(inputs, MASK)
    torch.testing.assert_close(outputs, wanted)
    stacked = last if cell == "lstm" else (last,)
    for number, state in enumerate(states):
        for part, whole in zip(state, stacked, strict=True):
            torch.testing.assert_close(part, whole[number])


@pytest.mark.parametrize("cell", CELLS)
def test_row_of_a_padded_batch_equals_the_row_alone(cell: Cell) -> None:
    """Whatever stands in the padding, outputs are zero there and nothing else depends on it."""
    module, inputs = made(cell, layers=2), batch()
    outputs, states = module(inputs, MASK)
    spoilt, _ = module(torch.where(MASK.unsqueeze(2), inputs, 1e3), MASK)
    torch.testing.assert_close(spoilt, outputs)
    assert not outputs[~MASK].any()
    for row, length in enumerate(LENGTHS.tolist()):
        alone, last = module(inputs[row : row + 1, :length])
        torch.testing.assert_close(outputs[row : row + 1, :length], alone)
        for one, other in zip(states, last, strict=True):
            for part, whole in zip(one, other, strict=True):
                torch.testing.assert_close(part[row], whole[0])


@pytest.mark.parametrize("cell", CELLS)
def test_steps_one_by_one_equal_the_whole(cell: Cell) -> None:
    """The step of decoders and language models is the same recursion, and a state carried over joins two halves."""
    module, inputs = made(cell, layers=2, both=False), batch()
    whole, last = module(inputs)
    states = module.start(4)
    for time in range(7):
        output, states = module.step(inputs[:, time], states)
        torch.testing.assert_close(output, whole[:, time])
    first, between = module(inputs[:, :3])
    second, end = module(inputs[:, 3:], None, between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    for one, other, third in zip(states, last, end, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(third, other)


@pytest.mark.parametrize("cell", CELLS)
def test_state_before_the_first_step_is_taken_with_a_mask(cell: Cell) -> None:
    """A row without any real token ends in the state that it began with."""
    layer = RecurrentLayer(cell, 5, 6, generator())
    state = tuple(torch.randn(4, 6, generator=generator(part)) for part in range(len(layer.start(1))))
    mask = MASK.clone()
    mask[2] = False
    outputs, last = layer(batch(), mask, state)
    assert not outputs[2].any()
    for part, before in zip(last, state, strict=True):
        torch.testing.assert_close(part[2], before[2])
    alone, after = layer(batch()[1:2, :3], None, tuple(part[1:2] for part in state))
    torch.testing.assert_close(outputs[1:2, :3], alone)
    for part, whole in zip(last, after, strict=True):
        torch.testing.assert_close(part[1], whole[0])


def test_peephole_lstm_without_peepholes_is_torchs_lstm() -> None:
    """Gers et al. (2002): the peepholes are all that it has beside the LSTM."""
    peephole, plain = RecurrentLayer("peephole_lstm", 5, 6, generator(3)), RecurrentLayer("lstm", 5, 6, generator(4))
    assert peephole.peepholes is not None
    different, _ = peephole(batch())
    plain.load_state_dict({name: item for name, item in peephole.state_dict().items() if name != "peepholes"})
    with torch.no_grad():
        peephole.peepholes.zero_()
    torch.testing.assert_close(peephole(batch())[0], plain(batch())[0], rtol=1e-5, atol=1e-6)
    assert float((different - plain(batch())[0]).detach().abs().max()) > 1e-3


def test_peepholes_see_the_memory_that_the_paper_says() -> None:
    """§2: input and forget gate that of the step before, the output gate that of this step; one unit, by hand."""
    layer = RecurrentLayer("peephole_lstm", 1, 1, generator())
    values = {"weight_input": [1.0, 2.0, 3.0, 4.0], "weight_hidden": [0.5, -0.5, 0.25, 0.1]}
    with torch.no_grad():
        for name, numbers in values.items():
            getattr(layer, name).copy_(torch.tensor(numbers).unsqueeze(1))
        layer.bias_input.zero_()
        cast("Tensor", layer.peepholes).copy_(torch.tensor([[0.3], [0.6], [0.9]]))
    hidden = memory = 0.0
    for time, given in enumerate([0.2, -0.4, 0.7]):
        gate = _sigmoid(given + 0.5 * hidden + 0.3 * memory)
        forget = _sigmoid(2 * given - 0.5 * hidden + 0.6 * memory)
        memory = forget * memory + gate * np.tanh(3 * given + 0.25 * hidden)
        hidden = _sigmoid(4 * given + 0.1 * hidden + 0.9 * memory) * np.tanh(memory)
        outputs, last = layer(torch.tensor([[[0.2], [-0.4], [0.7]]])[:, : time + 1])
        assert float(outputs[0, time, 0].detach()) == pytest.approx(hidden, abs=1e-6)
        assert float(last[1].detach()) == pytest.approx(memory, abs=1e-6)


def test_without_forget_gate_the_memory_only_adds_up() -> None:
    """An LSTM whose forget gate is open for good is the one of 1997."""
    without, gated = (
        RecurrentLayer("lstm_without_forget_gate", 5, 6, generator(5)),
        RecurrentLayer("lstm", 5, 6, generator()),
    )
    with torch.no_grad():
        for name, parameter in gated.named_parameters():
            gate, candidate, output = without.get_parameter(name).split(6)
            forget = torch.full_like(gate, 1e4 if name == "bias_input" else 0.0)
            parameter.copy_(torch.cat([gate, forget, candidate, output]))
    torch.testing.assert_close(without(batch(), MASK), gated(batch(), MASK))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_finite_differences(cell: Cell) -> None:
    """With respect to inputs and every weight, masked, in both directions."""
    module = Recurrent(cell, 2, 2, generator(), bidirectional=True).double()
    inputs = batch(2)[:2, :4].double().requires_grad_()
    names, parameters = zip(*module.named_parameters(), strict=True)

    def outputs(given: Tensor, *weights: Tensor) -> Tensor:
        state = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(module, state, (given, MASK[:2, :4]))[0]

    assert torch.autograd.gradcheck(outputs, (inputs, *parameters))


@pytest.mark.parametrize("cell", CELLS)
def test_initial_weights_come_from_the_generator_alone(cell: Cell) -> None:
    """Biases are zero, forget gates begin open."""
    before = torch.get_rng_state()
    layer = RecurrentLayer(cell, 5, 6, generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.weight_input.shape == (GATES[cell] * 6, 5)
    assert layer.bias_input.tolist() == (
        [0.0] * 6 + [1.0] * 6 + [0.0] * 12 if GATES[cell] == 4 else [0.0] * GATES[cell] * 6
    )


def test_dropout_acts_between_layers_and_not_over_time() -> None:
    """Zaremba et al. (2014): with one layer there is none; with two it is drawn from the generator."""
    single = made("lstm", dropout=0.9).train()
    torch.testing.assert_close(single(batch())[0], single.eval()(batch())[0])
    double = made("lstm", layers=2, dropout=0.5)
    calm = double(batch())[0]
    assert not torch.allclose(double.train()(batch())[0], calm)
    lower = cast("nn.ModuleList", double.layers[0])[0]
    assert cast("RecurrentLayer", lower)(batch())[0].shape == (4, 7, 6)


def test_reversal_leaves_padding_where_it_is() -> None:
    """And is its own inverse."""
    sequence = torch.arange(1, 5).view(1, 4, 1).float()
    mask = torch.tensor([[True, True, True, False]])
    assert reversed_in_time(sequence, mask).flatten().tolist() == [3, 2, 1, 4]
    assert torch.equal(reversed_in_time(reversed_in_time(batch(), MASK), MASK), batch())


class _Encoder(nn.Module):
    """Word indices, 0 for padding, to outputs and last states of several cells, as families export them."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 5)
        self.recurrent = nn.ModuleList(made(cell, layers=2 if cell == "lstm" else 1) for cell in cells)

    def forward(self, words: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for module in self.recurrent:
            outputs, states = module(self.embedding(words), words != 0)
            found += [outputs, *(part for state in states for part in state)]
        return tuple(found)


@pytest.mark.parametrize(("format_", "cells"), [("onnx", CELLS), ("torchscript", tuple(TORCH))])
def test_graph_equals_the_module_at_any_size(format_: str, cells: Sequence[Cell]) -> None:
    """Axes stay symbolic, one token included; a row is masked by its own length. TorchScript has torch's own cells."""
    module = _Encoder(cells).eval()
    example = torch.randint(1, 9, (2, 5), generator=generator())
    signature = PartSignature(
        inputs=(TensorSignature(name="words", dtype="int64", shape=("batch", "time")),),
        outputs=tuple(
            TensorSignature(name=f"output {index}", shape=("batch", "time", 12)[: value.ndim])
            for index, value in enumerate(module(example))
        ),
    )
    exporter = onnx if format_ == "onnx" else torchscript
    export = Export(onnx_twin(module), signature, reference=module)
    run = exporter.open_graph(exporter.write(export, (example,)), signature)
    for rows, time in ((1, 1), (2, 4), (3, 7), (5, 11)):
        words = torch.randint(1, 9, (rows, time), generator=generator(rows))
        words *= torch.arange(time) < torch.randint(1, time + 1, (rows, 1), generator=generator(time))
        found = run({"words": words.numpy()})
        for output, wanted in zip(signature.outputs, module(words), strict=True):
            np.testing.assert_allclose(found[output.name], wanted.detach().numpy(), atol=2e-6)


def _sigmoid(value: float) -> float:
    return 1 / (1 + np.exp(-value))
