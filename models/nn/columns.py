"""Columns of a table as numbers for a network: missing values filled in and marked, categories one-hot.

All of it is part of the exported graph, so requests carry the table's own numbers and indices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.data.tables.facts import CategoricalColumn, NumericColumn
from models.nn.normalization import Normalization


class NumericColumns(nn.Module):
    """Return (x − shift) / scale per column, a missing x replaced by the training mean; then the missing-indicators.

    Columns of which the training split misses a value have an indicator, 1 where x is missing; for the others it
    would be a weight that never learns. ``scale`` maps the training split's smallest and largest value to 0 and 1,
    ``standardize`` subtracts mean and divides by deviation, ``none`` leaves the values as they are.
    """

    mean: Tensor
    shift: Tensor
    factor: Tensor
    marked: Tensor

    def __init__(self, kind: Normalization, columns: Sequence[NumericColumn], device: torch.device) -> None:
        """Take the constants from the facts of the columns."""
        super().__init__()
        constants = [_constants(kind, column) for column in columns]
        marked = [index for index, column in enumerate(columns) if column.missing]
        self.width = len(columns) + len(marked)
        self.register_buffer("mean", torch.tensor([column.mean for column in columns], device=device))
        self.register_buffer("shift", torch.tensor([shift for shift, _ in constants], device=device))
        self.register_buffer("factor", torch.tensor([1 / scale for _, scale in constants], device=device))
        self.register_buffer("marked", torch.tensor(marked, dtype=torch.int64, device=device))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (batch, width) of ``numbers`` (batch, columns), NaN for missing."""
        missing = numbers.isnan()
        filled = (torch.where(missing, self.mean, numbers) - self.shift) * self.factor
        if len(self.marked) == 0:
            return filled
        return torch.cat([filled, missing.index_select(1, self.marked).to(filled.dtype)], dim=1)


class OneHotColumns(nn.Module):
    """Return one input per category that the training split holds, 1 where it is the value, and one for missing.

    Index 0, missing or unknown, has an input in columns of which the training split misses a value; in the others,
    as for every index without an input, all inputs of the column are 0.
    """

    column: Tensor
    index: Tensor

    def __init__(self, columns: Sequence[CategoricalColumn], device: torch.device) -> None:
        """Take the inputs from the counts of the columns."""
        super().__init__()
        places = [
            (position, index)
            for position, column in enumerate(columns)
            for index, count in enumerate((column.missing, *column.counts))
            if count
        ]
        self.width = len(places)
        self.register_buffer("column", torch.tensor([column for column, _ in places], device=device))
        self.register_buffer("index", torch.tensor([index for _, index in places], device=device))

    def forward(self, categories: Tensor) -> Tensor:
        """Return (batch, width) float32 of ``categories`` (batch, columns), whole numbers."""
        return (categories.index_select(1, self.column) == self.index).to(torch.float32)


def _constants(kind: Normalization, column: NumericColumn) -> tuple[float, float]:
    """Return shift and scale."""
    if kind == "none":
        return 0.0, 1.0
    if kind == "standardize":
        return column.mean, column.deviation or 1.0
    return column.minimum, (column.maximum - column.minimum) or 1.0
