"""How well groups found without labels match labelled classes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from models.contract.task import Array


def matched_accuracy(groups: Array, labels: Array) -> float:
    """Return the share of examples in the class of their group, each group matched to a class of its own, at best.

    Groups and classes are whole numbers from 0, (count,) each. Where one are more than the other, some
    stay unmatched, and their examples count as wrong (Kuhn's assignment problem).
    """
    # Imported here because only trainings have scipy; it brings no types.
    optimize: Any = importlib.import_module("scipy.optimize")
    table = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1))
    np.add.at(table, (groups, labels), 1)
    rows, columns = optimize.linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(labels))
