"""Deterministic splits: the same content and options always give the same validation and test examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.contract.task import Array, Split
from models.data.kind import SplitOptions

LARGEST_VALIDATION = 5_000
"""A validation split beyond this many examples measures no better and costs training data."""

SPLIT_SEED = 20_200_903


def complete(splits: Mapping[str, Split], options: SplitOptions, stratify: str | None) -> tuple[dict[str, Split], str]:
    """Return ``splits`` with validation and test set aside from train where missing, and the rule in a sentence.

    The examples are permuted by numpy's Philox with a fixed seed; with ``stratify`` each value of that
    array keeps its share, so a class with one example stays in train. A split that would be empty is left out.
    """
    done = dict(splits)
    sentences: list[str] = []
    total = _length(done["train"])
    if "test" not in done:
        rest, aside = _set_aside(done["train"], round(total * options.test_fraction), stratify)
        if _length(aside) > 0:
            done |= {"train": rest, "test": aside}
            sentences.append(f"test: {_length(aside)} of {total} examples set aside")
    if "validation" not in done:
        wanted = min(round(total * options.validation_fraction), LARGEST_VALIDATION)
        rest, aside = _set_aside(done["train"], wanted, stratify)
        if _length(aside) > 0:
            done |= {"train": rest, "validation": aside}
            sentences.append(f"validation: {_length(aside)} of the training examples set aside")
    if not sentences:
        return done, "As uploaded."
    kept = ", in proportion to the classes" if stratify else ""
    return done, f"Set aside deterministically{kept}: {'; '.join(sentences)}."


def _length(split: Split) -> int:
    return len(next(iter(split.values())))


def _set_aside(split: Split, wanted: int, stratify: str | None) -> tuple[Split, Split]:
    count = _length(split)
    order = np.random.Generator(np.random.Philox(SPLIT_SEED)).permutation(count)
    chosen = order[:wanted] if stratify is None else _proportional(split[stratify], order, wanted)
    mask = np.zeros(count, dtype=bool)
    mask[chosen] = True
    return {key: value[~mask] for key, value in split.items()}, {key: value[mask] for key, value in split.items()}


def _proportional(labels: Array, order: Array, wanted: int) -> Array:
    """Return indices of about ``wanted`` examples in proportion to the labels, by largest remainder."""
    shuffled = labels[order]
    values, counts = np.unique(shuffled, return_counts=True)
    exact = counts * (wanted / len(labels))
    take = np.floor(exact).astype(int)
    by_remainder = np.argsort(-(exact - take), kind="stable")
    take[by_remainder[: wanted - int(take.sum())]] += 1
    take = np.minimum(take, counts - 1)
    return np.concatenate([order[shuffled == value][:number] for value, number in zip(values, take, strict=True)])
