"""The gate has teeth: exports broken on purpose are refused, and honest twins of them pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from models.contract.errors import ExportFailed, ParityFailed, TrainingDiverged
from models.contract.tensors import PartSignature, TensorSignature
from models.family import Export, Family
from workers.exporting.formats import EXPORTERS, write
from workers.exporting.gate import check_parity, traced_sizes

WIDTH = 3
ROWS = TensorSignature(name="rows", shape=("batch", "time", WIDTH))
SIGNATURE = PartSignature(inputs=(ROWS,), outputs=(TensorSignature(name="values", shape=("batch", WIDTH)),))
TRACED_TIME = traced_sizes(SIGNATURE)["time"]


class _Examples:
    """All of a family that the gate asks for: random inputs of any size, pixels from 0 to 255."""

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        del part
        return (255 * torch.rand(sizes["batch"], sizes["time"], WIDTH, generator=generator),)


class _Mean(nn.Module):
    """The mean over time of rows divided by ``scale``; ``steps`` is a length that was frozen in by mistake."""

    def __init__(self, scale: float = 255.0, steps: int | None = None, offset: float = 0.0) -> None:
        super().__init__()
        self.scale, self.steps, self.offset = scale, steps, offset

    def forward(self, rows: Tensor) -> Tensor:
        total = (rows / self.scale).sum(dim=1)
        return total / (rows.shape[1] if self.steps is None else self.steps) + self.offset


class _PerRow(_Mean):
    """The mean of every row: an output of another shape than the signature's."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows.mean(dim=1, keepdim=True)


class _Peeking(_Mean):
    """Takes the mean of the whole batch away: right for one row, wrong for two."""

    def forward(self, rows: Tensor) -> Tensor:
        each = super().forward(rows)
        return each - each.mean(dim=0) + each[:1]


class _Recurrent(nn.Module):
    """The last state of torch's own recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.RNN(WIDTH, WIDTH, batch_first=True)

    def forward(self, rows: Tensor) -> Tensor:
        return self.layer(rows / 255)[0][:, -1]


class _Loop(_Mean):
    """The mean over time, summed step by step."""

    def forward(self, rows: Tensor) -> Tensor:
        total = torch.zeros(rows.size(0), rows.size(2))
        for time in range(rows.size(1)):
            total = total + rows[:, time] / self.scale
        return total / rows.size(1) + self.offset


class _TwinForOnnx(_Mean):
    """The mean by an operator of ONNX, which gives no numbers outside of its runtime."""

    def forward(self, rows: Tensor) -> Tensor:
        axes = torch.tensor([1])
        return torch.onnx.ops.symbolic(
            "ReduceMean",
            (rows / self.scale, axes),
            {"keepdims": 0},
            dtype=rows.dtype,
            shape=(rows.shape[0], rows.shape[2]),
            version=18,
        )


class _Unexportable(_Mean):
    """Leaves torch in the middle."""

    def forward(self, rows: Tensor) -> Tensor:
        message = f"no numbers can be had of a {type(rows).__name__} here"
        if cast("Any", torch.jit).is_tracing() or torch.compiler.is_compiling():
            raise TypeError(message)
        return super().forward(rows)


Gate = Callable[[Export], dict[str, float]]


@pytest.fixture(params=["onnx", "torchscript"])
def gate(request: pytest.FixtureRequest) -> Gate:
    """Exporter and gate of either format."""

    def pass_through(export: Export) -> dict[str, float]:
        family = cast("Family[Any, Any]", _Examples())
        generator = torch.Generator().manual_seed(1)
        example = family.example("reader", traced_sizes(export.signature), generator)
        graph = write("reader", export, request.param, example)
        run = EXPORTERS[request.param].open(graph, export.signature)
        return check_parity("reader", export, request.param, run, family, generator)[0]

    return pass_through


@pytest.mark.parametrize("scripted", [False, True])
def test_gate_passes_an_honest_twin(gate: Gate, *, scripted: bool) -> None:
    """The control: the same module as twin and reference, traced and scripted, differs by rounding alone."""
    differences = gate(Export(_Mean(), SIGNATURE, reference=_Mean(), scripted=scripted))
    assert differences["values"] < 1e-6


def test_gate_refuses_an_axis_frozen_to_the_example(gate: Gate) -> None:
    """At the traced length the twin is right to the bit; at every other it is not."""
    frozen = _Mean(steps=TRACED_TIME)
    rows = torch.rand(2, TRACED_TIME, WIDTH)
    assert torch.equal(frozen(rows), _Mean()(rows))
    with pytest.raises(
        ParityFailed, match=r"'values' of part 'reader' \(\w+\) differs .* at \{'batch': 1, 'time': 1\}"
    ):
        gate(Export(frozen, SIGNATURE, reference=_Mean()))


def test_gate_refuses_a_wrong_normalisation(gate: Gate) -> None:
    """Pixels divided by 256 instead of 255: half a per cent, invisible to the accuracy."""
    with pytest.raises(ParityFailed, match="differs from the trained model by"):
        gate(Export(_Mean(scale=256.0), SIGNATURE, reference=_Mean()))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(_Mean(offset=2e-4), "differs", id="just beyond the tolerance"),
        pytest.param(_Mean(offset=float("nan")), "differs", id="not a number"),
        pytest.param(_PerRow(), "instead of", id="another shape"),
        pytest.param(_Peeking(), "'batch': 2", id="depends on batch mates"),
    ],
)
def test_gate_refuses_a_twin(gate: Gate, broken: nn.Module, reason: str) -> None:
    with pytest.raises(ParityFailed, match=reason):
        gate(Export(broken, SIGNATURE, reference=_Mean()))


@pytest.mark.parametrize("gate", ["onnx"], indirect=True)
def test_gate_refuses_a_recurrent_layer_that_the_exporter_froze(gate: Gate) -> None:
    """A trap of the real exporter: traced, ``nn.RNN`` keeps the example's size without a word."""
    with pytest.raises(ParityFailed, match=r"Part 'reader' \(onnx\) cannot be run with"):
        gate(Export(_Recurrent(), SIGNATURE))


@pytest.mark.parametrize("gate", ["torchscript"], indirect=True)
def test_gate_refuses_a_loop_that_the_tracer_unrolled(gate: Gate) -> None:
    """The trap of the other one: as many steps as the example had. Compiled from its source the loop stays a loop."""
    with pytest.raises(ParityFailed, match=r"Part 'reader' \(torchscript\) cannot be run with .*'time': 1"):
        gate(Export(_Loop(), SIGNATURE))
    assert gate(Export(_Loop(), SIGNATURE, scripted=True))["values"] < 1e-6


def test_twin_of_onnx_operators_gives_way_to_the_module_itself(gate: Gate) -> None:
    """Each format gets the path that it can hold; the gate compares both with the same module."""
    assert gate(Export(_TwinForOnnx(), SIGNATURE, reference=_Mean()))["values"] < 1e-6


def test_module_that_no_format_can_hold_names_its_part(gate: Gate) -> None:
    """What the exporter cannot follow is said with part and format, not as a crash."""
    with pytest.raises(ExportFailed, match=r"'reader' cannot be exported as \w+: no numbers can be had"):
        gate(Export(_Unexportable(), SIGNATURE))


def test_gate_tells_a_model_that_diverged_from_an_export_that_is_wrong(gate: Gate) -> None:
    """Where the trained model itself has no answer, the exporter is not to blame."""
    ruined = _Mean(scale=float("nan"))
    with pytest.raises(TrainingDiverged, match="'values' of the trained model itself is not a number"):
        gate(Export(ruined, SIGNATURE))


def test_gate_says_that_nothing_was_published(gate: Gate) -> None:
    """The owner of the job reads the part, the output, the size of the gap and what became of it."""
    with pytest.raises(ParityFailed, match="not published") as refused:
        gate(Export(_Mean(scale=1.0), SIGNATURE, reference=_Mean()))
    assert refused.value.code == "export_parity_failed"
