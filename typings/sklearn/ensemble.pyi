# Trees, boosted and in forests.

from typing import Any, Self, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

class RandomForestClassifier:
    feature_importances_: Array
    def __init__(
        self, n_estimators: int = 100, *, max_features: str | None = "sqrt", random_state: int | None = None
    ) -> None: ...
    def fit(self, rows: Array, labels: Array, /) -> Self: ...
    def score(self, rows: Array, labels: Array, /) -> float: ...

class HistGradientBoostingClassifier:
    def __init__(self, *, random_state: int | None = None) -> None: ...
    def fit(self, rows: Array, labels: Array, /) -> Self: ...
    def score(self, rows: Array, labels: Array, /) -> float: ...
