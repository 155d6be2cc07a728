# Linear classifiers.

from typing import Any, Self, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

class LogisticRegression:
    def __init__(self, *, max_iter: int = 100) -> None: ...
    def fit(self, rows: Array, labels: Array, /) -> Self: ...
    def score(self, rows: Array, labels: Array, /) -> float: ...
