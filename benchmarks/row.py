"""What a row of docs/results.md is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard


@dataclass(frozen=True)
class Check:
    """A sentence with its figures, and whether it holds."""

    sentence: str
    holds: bool


@dataclass(frozen=True)
class Report:
    """A Markdown table (or text) and the checks under it; ``training_seconds`` of what was trained outside jobs."""

    body: str
    checks: Sequence[Check]
    training_seconds: float = 0.0


Cards = Mapping[str, Sequence[ModelCard]]
"""The model cards of each variant, by seed."""


class Row(ABC):
    """One reproduction: variants, each trained with every seed through the REST interface."""

    title: ClassVar[str]
    seeds: ClassVar[Sequence[int]] = (0, 1, 2)

    def seeds_of(self, variant: str) -> Sequence[int]:
        """Return the seeds of a variant, all of them by default."""
        del variant
        return self.seeds

    @abstractmethod
    def upload(self, client: Client) -> None:
        """Upload the datasets that the variants name; those that are there already are kept."""

    @abstractmethod
    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return submissions by variant, without model and seed."""

    @abstractmethod
    def report(self, client: Client, cards: Cards) -> Report:
        """Return the table and the checks, asking the served models where a check needs it."""


class LayersRow(Row):
    """A row about layers, which are drawn or trained by the report itself: there are neither datasets nor models."""

    def upload(self, client: Client) -> None:
        """Upload nothing."""

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return none."""
        return {}
