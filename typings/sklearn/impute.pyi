# Missing values filled in and marked.

from typing import Any, Self, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

class SimpleImputer:
    def __init__(self, *, add_indicator: bool = False) -> None: ...
    def fit(self, rows: Array, /) -> Self: ...
    def transform(self, rows: Array, /) -> Array: ...
