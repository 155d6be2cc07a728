"""The extension point of dataset kinds: from uploaded files to arrays, with every problem named.

A kind reads files into :class:`Content`: per split a mapping of arrays that share their first axis, and
the facts (``meta``) that models need. Text is an array of numpy's ``StringDType``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import Field, JsonValue

from models.contract.config import Options
from models.contract.task import Split


@dataclass(frozen=True)
class UploadedFile:
    """One file part of an upload: the client's file name and where the bytes lie."""

    filename: str
    path: Path


@dataclass(frozen=True)
class Content:
    """A dataset in memory: ``splits[name][array]`` with equal first axes within a split, and its facts."""

    splits: Mapping[str, Split]
    meta: Mapping[str, JsonValue]

    def counts(self) -> dict[str, int]:
        """Return the number of examples per split."""
        return {name: len(next(iter(split.values()))) for name, split in self.splits.items()}


class SplitOptions(Options):
    """Options of every kind: how much to set aside when no such part is uploaded."""

    validation_fraction: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share of the training examples set aside for validation, at most 5,000.",
    )
    test_fraction: float = Field(default=0.2, ge=0, le=0.5, description="Share of all examples set aside for the test.")


class DatasetKind(ABC):
    """One kind of dataset."""

    name: ClassVar[str]
    title: ClassVar[str]
    options: ClassVar[type[SplitOptions]]
    stratify: ClassVar[str | None] = None
    """The array whose values are kept in proportion when splitting."""

    contiguous: ClassVar[bool] = False
    """Whether the order of examples means something, so that what is set aside is the end and not a random share."""

    @abstractmethod
    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the uploaded splits (``train`` at least) and their facts.

        Raises:
            InvalidDataset: a file does not hold what it should; names the part and the remedy.
            PayloadTooLarge: a file unpacks to more than the stated limit.
        """

    @abstractmethod
    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return facts that depend on the final splits, such as the class balance and training statistics."""

    def drawn(self, content: Content) -> Content:
        """Return a content as models take it: what the store keeps as less, such as a generated world, is drawn."""
        return content

    @abstractmethod
    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return the first ``count`` examples of ``split`` as JSON."""
