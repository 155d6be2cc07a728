# Linear codes.

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

class PCA:
    def __init__(
        self, n_components: int | None = None, *, svd_solver: str = "auto", random_state: int | None = None
    ) -> None: ...
    def fit_transform(self, rows: Array, /) -> Array: ...

class FastICA:
    def __init__(
        self, n_components: int | None = None, *, whiten: str = "unit-variance", random_state: int | None = None
    ) -> None: ...
    def fit_transform(self, rows: Array, /) -> Array: ...
