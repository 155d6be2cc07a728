"""Recurrent layers over time: classical, LSTM with and without forget gate, peephole LSTM, GRU; masked, both ways.

Where torch has the cell its kernels are used, elsewhere the steps are taken one by one; :meth:`RecurrentLayer.step` is
one step of any of them, for decoders and language models. Graphs for ONNX are made by ``recurrent_export``.

Elman (1990) for ``rnn``; Hochreiter and Schmidhuber (1997) for ``lstm_without_forget_gate``; Gers, Schmidhuber,
Cummins (2000) for ``lstm``; Gers, Schraudolph, Schmidhuber (2002), §2 for ``peephole_lstm``: the gates see the memory
cell, input and forget gate that of the step before, the output gate that of this step; Cho et al. (2014), Eq. 5 to 8
for ``gru``, with the reset gate applied behind the recurrent product as cuDNN and torch do.

A mask is (batch, time) bool, True for real tokens, all of which stand before the padding. Padding changes no state and
its outputs are zero, so that a row of a batch is what it is alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.backends.cudnn import rnn as cudnn_rnn

from models.nn.dropout import Dropout

Cell = Literal["rnn", "lstm", "lstm_without_forget_gate", "peephole_lstm", "gru"]
State = tuple[Tensor, ...]
"""(hidden,) of ``rnn`` and ``gru``, (hidden, memory) of the others, each (batch, hidden)."""

GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4, "lstm_without_forget_gate": 3, "peephole_lstm": 4}
"""Blocks of rows in a weight, in torch's order: reset, update, new of ``gru``; input, forget, cell, output of LSTMs."""

FUSED: dict[Cell, str] = {"rnn": "RNN_TANH", "lstm": "LSTM", "gru": "GRU"}
"""Cells that torch has kernels for, with their names in cuDNN."""

FORGET_BIAS = 1.0
"""Gers et al. (2000), §4; Jozefowicz, Zaremba, Sutskever (2015), §4: without it long gaps are hardly learnt."""


class RecurrentLayer(nn.Module):
    """One layer in one direction."""

    def __init__(
        self, cell: Cell, inputs: int, hidden: int, generator: torch.Generator, *, reverse: bool = False
    ) -> None:
        """Draw the weights from U(−1/√hidden, 1/√hidden); biases are 0, those of forget gates 1.

        Args:
            cell: which.
            inputs: numbers per step.
            hidden: units.
            generator: of the weights.
            reverse: whether time runs from the last real token to the first.
        """
        super().__init__()
        self.cell, self.inputs, self.hidden, self.reverse = cell, inputs, hidden, reverse
        rows, bound = GATES[cell] * hidden, 1 / math.sqrt(hidden)

        def drawn(*shape: int) -> nn.Parameter:
            weight = torch.empty(shape, device=generator.device)
            return nn.Parameter(weight.uniform_(-bound, bound, generator=generator))

        self.weight_input = drawn(rows, inputs)
        self.weight_hidden = drawn(rows, hidden)
        self.bias_input = nn.Parameter(torch.zeros(rows, device=generator.device))
        self.bias_hidden = nn.Parameter(torch.zeros(rows, device=generator.device))
        self.peepholes: nn.Parameter | None = drawn(3, hidden) if cell == "peephole_lstm" else None
        """Weights from the memory to input, forget and output gate, (3, hidden)."""
        if cell in ("lstm", "peephole_lstm"):
            with torch.no_grad():
                self.bias_input[hidden : 2 * hidden] = FORGET_BIAS
        if cell in FUSED and torch.backends.cudnn.is_acceptable(self.weight_input):
            self._lay_out(FUSED[cell])

    def start(self, batch: int) -> State:
        """Return the state before the first step: zeros."""
        zeros = self.weight_hidden.new_zeros(batch, self.hidden)
        return (zeros,) if self.cell in ("rnn", "gru") else (zeros, zeros)

    def forward(
        self, inputs: Tensor, mask: Tensor | None = None, state: State | None = None, *, keep_state: bool = True
    ) -> tuple[Tensor, State]:
        """Return the hidden state of every step, and the state behind the last one.

        Args:
            inputs: (batch, time, inputs).
            mask: (batch, time) bool; all are real without one.
            state: before the first step, zeros by default.
            keep_state: whether the last state is asked for; without, a masked LSTM takes two thirds of the time and
                what is returned as its memory means nothing.

        Returns:
            Outputs (batch, time, hidden), zero at padding, in the order of the inputs; the last state.
        """
        before = self.start(inputs.shape[0]) if state is None else state
        ordered = reversed_in_time(inputs, mask) if self.reverse else inputs
        if self.cell not in FUSED:
            outputs, last = self._step_by_step(ordered, mask, before)
        elif mask is not None and self.cell == "lstm" and keep_state:
            outputs, last = self._packed(ordered, mask, before)
        else:
            outputs, last = self._fused(ordered, before)
            if mask is not None:
                last = (_at_end(outputs, mask, before[0]), *last[1:])
                outputs = outputs * mask.unsqueeze(2)
        return (reversed_in_time(outputs, mask) if self.reverse else outputs), last

    def step(self, inputs: Tensor, state: State) -> State:
        """Return the state after one step with ``inputs`` (batch, inputs)."""
        return self._step(torch.nn.functional.linear(inputs, self.weight_input, self.bias_input), state)

    def _weights(self) -> list[Tensor]:
        return [self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden]

    def _lay_out(self, name: str) -> None:
        """Move the weights into the one piece of memory that cuDNN reads, which else it makes of them at every call.

        As ``torch.nn.RNNBase.flatten_parameters`` does.
        """
        with torch.no_grad():
            cast("Any", torch)._cudnn_rnn_flatten_weight(  # noqa: SLF001 - torch has no public name for it
                self._weights(),
                4,
                self.inputs,
                cudnn_rnn.get_cudnn_mode(name),
                self.hidden,
                0,  # no projection
                1,  # layer
                True,  # noqa: FBT003 - batch first
                False,  # noqa: FBT003 - one direction
            )

    def _fused(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run torch's kernel over all steps, padding included."""
        stacked = [part.unsqueeze(0).contiguous() for part in state]  # cuDNN takes no slice of a stack
        options = (
            True,
            1,
            0.0,
            self.training,
            False,
            True,
        )  # biases … batch first, as torch.lstm has them
        if self.cell == "lstm":
            outputs, hidden, memory = torch.lstm(inputs, stacked, self._weights(), *options)
            return outputs, (hidden[0], memory[0])
        run = torch.rnn_tanh if self.cell == "rnn" else torch.gru
        outputs, hidden = run(inputs, stacked[0], self._weights(), *options)
        return outputs, (hidden[0],)

    def _packed(self, inputs: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
        """Run torch's kernel over real tokens alone, so that the memory behind each row's last one is known."""
        lengths = mask.sum(dim=1)
        packed = nn.utils.rnn.pack_padded_sequence(
            inputs, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        order = cast("Tensor", packed.sorted_indices)
        stacked = [part[order].unsqueeze(0) for part in state]
        options = (True, 1, 0.0, self.training, False)
        data, hidden, memory = torch.lstm(packed.data, packed.batch_sizes, stacked, self._weights(), *options)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(
            nn.utils.rnn.PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices),
            batch_first=True,
            total_length=inputs.shape[1],
        )
        back = cast("Tensor", packed.unsorted_indices)
        real = (lengths > 0).unsqueeze(1)
        found = zip((hidden, memory), state, strict=True)
        return outputs * mask.unsqueeze(2), tuple(torch.where(real, new[0][back], old) for new, old in found)

    def _step_by_step(self, inputs: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        projected = torch.nn.functional.linear(inputs, self.weight_input, self.bias_input)
        outputs: list[Tensor] = []
        for time in range(inputs.shape[1]):
            following = self._step(projected[:, time], state)
            if mask is not None:
                real = mask[:, time].unsqueeze(1)
                outputs.append(following[0] * real)
                following = tuple(torch.where(real, new, old) for new, old in zip(following, state, strict=True))
            else:
                outputs.append(following[0])
            state = following
        return torch.stack(outputs, dim=1), state

    def _step(self, projected: Tensor, state: State) -> State:
        """Return the state after a step whose inputs are already multiplied by their weights."""
        hidden = state[0]
        recurrent = torch.nn.functional.linear(hidden, self.weight_hidden, self.bias_hidden)
        match self.cell:
            case "rnn":
                return ((projected + recurrent).tanh(),)
            case "gru":
                reset, update, new = projected.chunk(3, dim=1)
                reset_hidden, update_hidden, new_hidden = recurrent.chunk(3, dim=1)
                candidate = (new + (reset + reset_hidden).sigmoid() * new_hidden).tanh()
                keep = (update + update_hidden).sigmoid()
                return (candidate + keep * (hidden - candidate),)
            case "lstm_without_forget_gate":
                gate, candidate, output = (projected + recurrent).chunk(3, dim=1)
                memory = state[1] + gate.sigmoid() * candidate.tanh()
            case _:
                gate, forget, candidate, output = (projected + recurrent).chunk(4, dim=1)
                memory = state[1]
                if self.peepholes is not None:
                    gate, forget = gate + self.peepholes[0] * memory, forget + self.peepholes[1] * memory
                memory = forget.sigmoid() * memory + gate.sigmoid() * candidate.tanh()
                if self.peepholes is not None:
                    output = output + self.peepholes[2] * memory
        return output.sigmoid() * memory.tanh(), memory


class Recurrent(nn.Module):
    """Layers one above another, each in one direction or both.

    Dropout acts between layers and never from step to step (Zaremba, Sutskever, Vinyals 2014, §3.1); on what goes into
    the first layer and comes out of the last it is for the caller.
    """

    def __init__(
        self,
        cell: Cell,
        inputs: int,
        hidden: int,
        generator: torch.Generator,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        """Draw ``layers`` layers of ``hidden`` units per direction from ``generator``.

        With ``residual`` each layer above the first adds what goes into it to what comes out (Wu et al. 2016, §3.1).
        """
        super().__init__()
        self.residual = residual
        directions = (False, True) if bidirectional else (False,)
        self.width = hidden * len(directions)
        """Numbers per step of the outputs."""
        widths = [inputs, *[self.width] * (layers - 1)]
        self.layers = nn.ModuleList(
            nn.ModuleList(RecurrentLayer(cell, width, hidden, generator, reverse=back) for back in directions)
            for width in widths
        )
        self.dropout = Dropout(dropout, generator)

    def start(self, batch: int) -> tuple[State, ...]:
        """Return the states before the first step, forward and backward of each layer in turn."""
        return tuple(layer.start(batch) for layer in self._each())

    def forward(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        states: Sequence[State] | None = None,
        *,
        keep_state: bool = True,
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Return the outputs of the last layer and the last state of each; see :meth:`RecurrentLayer.forward`.

        Args:
            inputs: (batch, time, inputs).
            mask: (batch, time) bool.
            states: as :meth:`start` returns them.
            keep_state: whether the last states are asked for.

        Returns:
            Outputs (batch, time, width), forward before backward; states in the order of :meth:`start`.
        """
        last: list[State] = []
        outputs = inputs
        for number, directions in enumerate(self.layers):
            below = outputs if number == 0 else self.dropout(outputs)
            found: list[Tensor] = []
            for layer in cast("nn.ModuleList", directions):
                state = None if states is None else states[len(last)]
                above, after = cast("RecurrentLayer", layer)(below, mask, state, keep_state=keep_state)
                found.append(above)
                last.append(after)
            outputs = torch.cat(found, dim=2) if len(found) > 1 else found[0]
            if self.residual and number:
                outputs = outputs + below
        return outputs, tuple(last)

    def step(self, inputs: Tensor, states: Sequence[State]) -> tuple[Tensor, tuple[State, ...]]:
        """Return the output (batch, hidden) and the states after one step with ``inputs`` (batch, inputs).

        For layers in one direction: the other would have to know what is to come.
        """
        assert all(len(cast("nn.ModuleList", directions)) == 1 for directions in self.layers)
        after: list[State] = []
        for number, (layer, state) in enumerate(zip(self._each(), states, strict=True)):
            below = inputs if number == 0 else self.dropout(inputs)
            after.append(layer.step(below, state))
            inputs = after[-1][0] + below if self.residual and number else after[-1][0]
        return inputs, tuple(after)

    def _each(self) -> list[RecurrentLayer]:
        return [
            cast("RecurrentLayer", layer) for directions in self.layers for layer in cast("nn.ModuleList", directions)
        ]


def reversed_in_time(sequence: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``sequence`` (batch, time, width) with the real tokens of each row in the opposite order, padding kept."""
    if mask is None:
        return sequence.flip(1)
    places = torch.arange(mask.shape[1], device=mask.device).unsqueeze(0)  # (1, time)
    backward = mask.sum(dim=1, keepdim=True) - 1 - places
    source = torch.where(mask, backward, places)  # (batch, time)
    return sequence.gather(1, source.unsqueeze(2).expand(-1, -1, sequence.shape[2]))


def _at_end(outputs: Tensor, mask: Tensor, before: Tensor) -> Tensor:
    """Return of each row the output at its last real token (batch, hidden), or what was before if it has none."""
    lengths = mask.sum(dim=1)
    last = (lengths - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, outputs.shape[2])
    return torch.where((lengths > 0).unsqueeze(1), outputs.gather(1, last).squeeze(1), before)
