"""Recurrent layers as ONNX's own operators, which have symbolic batch and time, masks by length, and peepholes.

A family exports ``onnx_twin(module)`` with ``module`` as the reference. torch's exporter itself freezes the time axis
of its recurrent kernels without a word.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.onnx import ops

from models.nn.recurrent import RecurrentLayer, State

ModuleT = TypeVar("ModuleT", bound=nn.Module)

SURE = 1e4
"""A bias that opens a gate for good: σ is exactly 1 in float32."""


def onnx_twin(module: ModuleT) -> ModuleT:
    """Return a copy of ``module`` whose recurrent layers are operators of ONNX; it can be traced and not be run."""
    twin = copy.deepcopy(module)
    for name, layer in cast("list[tuple[str, nn.Module]]", [*cast("Any", twin).named_modules()]):
        if isinstance(layer, RecurrentLayer):
            parent, _, own = name.rpartition(".")
            setattr(twin.get_submodule(parent), own, _OnnxLayer(layer))
    return twin


class _OnnxLayer(nn.Module):
    """One layer in one direction, called like :class:`RecurrentLayer`."""

    def __init__(self, layer: RecurrentLayer) -> None:
        """Take over the weights, gates in ONNX's order."""
        super().__init__()
        self.operator = {"rnn": "RNN", "gru": "GRU"}.get(layer.cell, "LSTM")
        self.hidden, self.reverse = layer.hidden, layer.reverse
        self._start = layer.start
        with torch.no_grad():
            weights = [_reordered(layer, item) for item in (layer.weight_input, layer.weight_hidden)]
            biases = [_reordered(layer, layer.bias_input, SURE), _reordered(layer, layer.bias_hidden)]
            self.weight_input = nn.Buffer(weights[0].unsqueeze(0))
            self.weight_hidden = nn.Buffer(weights[1].unsqueeze(0))
            self.bias = nn.Buffer(torch.cat(biases).unsqueeze(0))
            peepholes = _peepholes(layer)
            self.peepholes = None if peepholes is None else nn.Buffer(peepholes)

    def forward(
        self, inputs: Tensor, mask: Tensor | None = None, state: State | None = None, *, keep_state: bool = True
    ) -> tuple[Tensor, State]:
        """Return outputs (batch, time, hidden) and the last state."""
        del keep_state
        batch, time = inputs.shape[:2]
        lengths = None if mask is None else mask.sum(dim=1).clamp(min=1).to(torch.int32)
        operands: list[Tensor | None] = [
            inputs.transpose(0, 1),
            self.weight_input,
            self.weight_hidden,
            self.bias,
            lengths,
        ]
        if state is not None:
            operands += [part.unsqueeze(0) for part in state]
        elif self.peepholes is not None:
            operands += [part.unsqueeze(0) for part in self._start(batch)]
        if self.peepholes is not None:
            operands.append(self.peepholes)
        attributes: dict[str, Any] = {
            "hidden_size": self.hidden,
            "direction": "reverse" if self.reverse else "forward",
        }
        if self.operator == "GRU":
            attributes["linear_before_reset"] = 1
        shapes: list[Any] = [(time, 1, batch, self.hidden), (1, batch, self.hidden), (1, batch, self.hidden)]
        shapes = shapes[: 3 if self.operator == "LSTM" else 2]
        found = ops.symbolic_multi_out(
            self.operator,
            operands,
            attributes,
            dtypes=[torch.float32] * len(shapes),
            shapes=shapes,
            version=18,
        )
        outputs = found[0].squeeze(1).transpose(0, 1)  # (batch, time, hidden)
        if mask is not None:
            outputs = outputs * mask.unsqueeze(2)
        return outputs, tuple(part.squeeze(0) for part in found[1:])


def _reordered(layer: RecurrentLayer, weight: Tensor, missing: float = 0.0) -> Tensor:
    """Return the rows of ``weight`` as ONNX has them: update, reset, new; input, output, forget, cell."""
    if layer.cell == "rnn":
        return weight.detach().clone()
    blocks = cast("tuple[Tensor, ...]", weight.detach().split(layer.hidden))
    if layer.cell == "gru":
        reset, update, new = blocks
        return torch.cat([update, reset, new])
    if layer.cell == "lstm_without_forget_gate":
        gate, candidate, output = blocks
        return torch.cat([gate, output, torch.full_like(gate, missing), candidate])
    gate, forget, candidate, output = blocks
    return torch.cat([gate, output, forget, candidate])


def _peepholes(layer: RecurrentLayer) -> Tensor | None:
    """Return (1, 3 × hidden): to the gates of input, output and forgetting."""
    if layer.peepholes is None:
        return None
    return layer.peepholes.detach()[[0, 2, 1]].reshape(1, -1)
