"""The gate has teeth: exports broken on purpose are refused, and honest twins of them pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from models.contract.errors import ParityFailed, TrainingDiverged
from models.contract.tensors import PartSignature, TensorSignature
from models.family import Export, Family
from workers.exporting import check_parity, export_part, traced_sizes

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


def _gate(export: Export) -> dict[str, float]:
    family = cast("Family[Any, Any]", _Examples())
    generator = torch.Generator().manual_seed(1)
    graph = export_part(export, family.example("reader", traced_sizes(export.signature), generator))
    return check_parity("reader", export, graph, family, generator)[0]


@pytest.mark.parametrize("scripted", [False, True])
def test_gate_passes_an_honest_twin(*, scripted: bool) -> None:
    """The control: the same module as twin and reference, traced and scripted, differs by rounding alone."""
    differences = _gate(Export(_Mean(), SIGNATURE, reference=_Mean(), scripted=scripted))
    assert differences["values"] < 1e-6


def test_gate_refuses_an_axis_frozen_to_the_example() -> None:
    """At the traced length the twin is right to the bit; at every other it is not."""
    frozen = _Mean(steps=TRACED_TIME)
    rows = torch.rand(2, TRACED_TIME, WIDTH)
    assert torch.equal(frozen(rows), _Mean()(rows))
    with pytest.raises(ParityFailed, match=r"'values' of part 'reader' differs .* at \{'batch': 1, 'time': 1\}"):
        _gate(Export(frozen, SIGNATURE, reference=_Mean()))


def test_gate_refuses_a_wrong_normalisation() -> None:
    """Pixels divided by 256 instead of 255: half a per cent, invisible to the accuracy."""
    with pytest.raises(ParityFailed, match="differs from the trained model by"):
        _gate(Export(_Mean(scale=256.0), SIGNATURE, reference=_Mean()))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(_Mean(offset=2e-4), "differs", id="just beyond the tolerance"),
        pytest.param(_Mean(offset=float("nan")), "differs", id="not a number"),
        pytest.param(_PerRow(), "instead of", id="another shape"),
        pytest.param(_Peeking(), "'batch': 2", id="depends on batch mates"),
    ],
)
def test_gate_refuses_a_twin(broken: nn.Module, reason: str) -> None:
    with pytest.raises(ParityFailed, match=reason):
        _gate(Export(broken, SIGNATURE, reference=_Mean()))


def test_gate_refuses_a_recurrent_layer_that_the_exporter_froze() -> None:
    """A trap of the real exporter: traced, ``nn.RNN`` keeps the example's size without a word."""
    with pytest.raises(ParityFailed, match="cannot be run with"):
        _gate(Export(_Recurrent(), SIGNATURE))


def test_gate_tells_a_model_that_diverged_from_an_export_that_is_wrong() -> None:
    """Where the trained model itself has no answer, the exporter is not to blame."""
    ruined = _Mean(scale=float("nan"))
    with pytest.raises(TrainingDiverged, match="'values' of the trained model itself is not a number"):
        _gate(Export(ruined, SIGNATURE))


def test_gate_says_that_nothing_was_published() -> None:
    """The owner of the job reads the part, the output, the size of the gap and what became of it."""
    with pytest.raises(ParityFailed, match="not published") as refused:
        _gate(Export(_Mean(scale=1.0), SIGNATURE, reference=_Mean()))
    assert refused.value.code == "export_parity_failed"
