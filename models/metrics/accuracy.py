"""Accuracy: the share of predictions that equal the truth."""

from __future__ import annotations

from collections.abc import Sequence


def accuracy(predicted: Sequence[str], truth: Sequence[str]) -> float:
    """Return the share of positions at which both agree.

    Raises:
        ValueError: the sequences are empty or of different length.
    """
    if not truth:
        message = "accuracy of no predictions is not defined"
        raise ValueError(message)
    return sum(one == other for one, other in zip(predicted, truth, strict=True)) / len(truth)
