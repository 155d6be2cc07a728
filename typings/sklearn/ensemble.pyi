# Gradient-boosted trees.

from typing import Any, Self, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

class HistGradientBoostingClassifier:
    def __init__(self, *, random_state: int | None = None) -> None: ...
    def fit(self, rows: Array, labels: Array, /) -> Self: ...
    def score(self, rows: Array, labels: Array, /) -> float: ...
