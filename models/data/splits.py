"""Deterministic splits: the same content and options always give the same validation and test examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array, Split
from models.data.kind import SplitOptions

LARGEST_VALIDATION = 5_000
"""A validation split beyond this many examples measures no better and costs training data."""

SPLIT_SEED = 20_200_903


@dataclass(frozen=True)
class Selection:
    """Some examples of an uploaded split, in their order, named and not copied.

    Attributes:
        source: the split as uploaded.
        rows: (examples,) indices into it; None takes all.
    """

    source: Split
    rows: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.source.values()))) if self.rows is None else len(self.rows)

    def piece(self, name: str, start: int, stop: int) -> Array:
        """Return the examples from ``start`` up to ``stop`` of the array ``name``."""
        array = self.source[name]
        return array[start:stop] if self.rows is None else array[self.rows[start:stop]]


def complete(
    splits: Mapping[str, Split], options: SplitOptions, stratify: str | None, *, contiguous: bool = False
) -> tuple[dict[str, Selection], str]:
    """Return ``splits`` with validation and test set aside from train where missing, and the rule in a sentence.

    The examples are permuted by numpy's Philox with a fixed seed; with ``stratify`` each value of that
    array keeps its share, so a class with one example stays in train. With ``contiguous`` the last examples are set
    aside: the end for the test, what is before it for validation. A split that would be empty is left out, and the
    sentence says so.
    """
    done = {name: Selection(split) for name, split in splits.items()}
    sentences: list[str] = []
    total = len(done["train"])
    if "test" not in done:
        rest, aside = _set_aside(done["train"], round(total * options.test_fraction), stratify, contiguous=contiguous)
        if len(aside) > 0:
            done |= {"train": rest, "test": aside}
            sentences.append(f"test: {len(aside)} of {total} examples set aside")
    if "validation" not in done:
        wanted = min(round(total * options.validation_fraction), LARGEST_VALIDATION)
        rest, aside = _set_aside(done["train"], wanted, stratify, contiguous=contiguous)
        if len(aside) > 0:
            done |= {"train": rest, "validation": aside}
            sentences.append(f"validation: {len(aside)} of the training examples set aside")
    asked = {"test": options.test_fraction, "validation": options.validation_fraction}
    without = [name for name, fraction in asked.items() if fraction > 0 and name not in done]
    rest = f" Too few examples to set any aside: no {' and no '.join(without)} split." if without else ""
    if not sentences:
        return done, f"As uploaded.{rest}"
    kept = ", from the end" if contiguous else ", in proportion to the classes" if stratify else ""
    return done, f"Set aside deterministically{kept}: {'; '.join(sentences)}.{rest}"


def _set_aside(
    selection: Selection, wanted: int, stratify: str | None, *, contiguous: bool
) -> tuple[Selection, Selection]:
    count = len(selection)
    if contiguous:
        chosen = np.arange(count - wanted, count)
    else:
        order = np.random.Generator(np.random.Philox(SPLIT_SEED)).permutation(count)
        labels = None if stratify is None else selection.piece(stratify, 0, count)
        chosen = order[:wanted] if labels is None else _proportional(labels, order, wanted)
    mask = np.zeros(count, dtype=bool)
    mask[chosen] = True
    rows = np.arange(count) if selection.rows is None else selection.rows
    return Selection(selection.source, rows[~mask]), Selection(selection.source, rows[mask])


def _proportional(labels: Array, order: Array, wanted: int) -> Array:
    """Return indices of about ``wanted`` examples in proportion to the labels, by largest remainder."""
    shuffled = labels[order]
    _, inverse, counts = np.unique(shuffled, return_inverse=True, return_counts=True)
    exact = counts * (wanted / len(labels))
    take = np.floor(exact).astype(int)
    by_remainder = np.argsort(-(exact - take), kind="stable")
    take[by_remainder[: wanted - int(take.sum())]] += 1
    take = np.minimum(take, counts - 1)
    by_value = np.argsort(inverse, kind="stable")
    rank = np.empty(len(labels), dtype=int)
    rank[by_value] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[rank < take[inverse]]
