"""What a network takes by the kind of its dataset: the inputs of its graph, each with the layer that encodes it.

A family asks :func:`network_inputs` once and never for the kind again: the first hidden layer sees the encoded inputs
side by side, (batch, sum of widths).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.contract.tensors import TensorSignature
from models.data.images.facts import ImageFacts
from models.data.tables.facts import CategoricalColumn, NumericColumn, TableFacts
from models.nn.columns import NumericColumns, OneHotColumns
from models.nn.normalization import InputNormalization, Normalization

EXAMPLE_MISSING = 0.2
"""Share of missing values in examples, on which exported and trained model are compared."""


class Encoder(nn.Module):
    """A layer that maps one input to (batch, ``width``)."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        """Keep the layer; what it returns is flattened."""
        super().__init__()
        self.layer = layer
        self.width = width

    def forward(self, values: Tensor) -> Tensor:
        """Return (batch, width) float32."""
        return self.layer(values).flatten(1)


class NetworkInput(ABC):
    """One input of a graph, in the dataset's own scale; the array of the same name in a split holds its values."""

    signature: TensorSignature

    @abstractmethod
    def encoder(self, normalization: Normalization, device: torch.device) -> Encoder:
        """Return a fresh layer that encodes it."""

    @abstractmethod
    def example(self, batch: int, generator: torch.Generator) -> Tensor:
        """Return random values, missing ones among them where there can be some."""


class ImageInput(NetworkInput):
    """Pixels, in one scale for all."""

    def __init__(self, facts: ImageFacts) -> None:
        """Keep size and range."""
        self._facts = facts
        self.signature = TensorSignature(name="images", shape=("batch", *facts.shape))

    def encoder(self, normalization: Normalization, device: torch.device) -> Encoder:
        """Return the normalisation of pixels."""
        return Encoder(InputNormalization(normalization, self._facts, device), math.prod(self._facts.shape))

    def example(self, batch: int, generator: torch.Generator) -> Tensor:
        """Return random images over the whole value range."""
        low, high = self._facts.value_range
        draws = torch.rand(batch, *self._facts.shape, generator=generator, device=generator.device)
        return low + (high - low) * draws


class NumberInput(NetworkInput):
    """Numeric columns of a table, NaN for missing."""

    def __init__(self, columns: Sequence[NumericColumn]) -> None:
        """Keep the columns."""
        self._columns = columns
        self.signature = TensorSignature(name="numbers", shape=("batch", len(columns)))

    def encoder(self, normalization: Normalization, device: torch.device) -> Encoder:
        """Return the imputation and normalisation per column."""
        layer = NumericColumns(normalization, self._columns, device)
        return Encoder(layer, layer.width)

    def example(self, batch: int, generator: torch.Generator) -> Tensor:
        """Return normal draws with each column's mean and deviation, some of them NaN."""
        mean, deviation = (
            torch.tensor([getattr(column, figure) for column in self._columns], device=generator.device)
            for figure in ("mean", "deviation")
        )
        shape = (batch, len(self._columns))
        draws = mean + deviation * torch.randn(shape, generator=generator, device=generator.device)
        missing = torch.rand(shape, generator=generator, device=generator.device) < EXAMPLE_MISSING
        return draws.masked_fill(missing, math.nan)


class CategoryInput(NetworkInput):
    """Categorical columns of a table as indices, 0 for missing or unknown."""

    def __init__(self, columns: Sequence[CategoricalColumn]) -> None:
        """Keep the columns."""
        self._columns = columns
        self.signature = TensorSignature(name="categories", dtype="int64", shape=("batch", len(columns)))

    def encoder(self, normalization: Normalization, device: torch.device) -> Encoder:
        """Return the one-hot coding, to which no normalisation applies."""
        del normalization
        layer = OneHotColumns(self._columns, device)
        return Encoder(layer, layer.width)

    def example(self, batch: int, generator: torch.Generator) -> Tensor:
        """Return uniform draws of all indices, 0 included."""
        draws = [
            torch.randint(len(column.categories) + 1, (batch,), generator=generator, device=generator.device)
            for column in self._columns
        ]
        return torch.stack(draws, dim=1)


def network_inputs(meta: Mapping[str, object]) -> tuple[NetworkInput, ...]:
    """Return the inputs of a network that learns from a dataset with these facts."""
    if "columns" not in meta:
        return (ImageInput(ImageFacts.of(meta)),)
    facts = TableFacts.of(meta)
    numbers = (NumberInput(facts.numeric),) if facts.numeric else ()
    return (*numbers, CategoryInput(facts.categorical)) if facts.categorical else numbers
