# Splits in proportion to the classes.

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

class StratifiedShuffleSplit:
    def __init__(
        self, n_splits: int = 10, *, test_size: float | None = None, random_state: int | None = None
    ) -> None: ...
    def split(self, rows: Array, labels: Array, /) -> Iterator[tuple[Array, Array]]: ...
