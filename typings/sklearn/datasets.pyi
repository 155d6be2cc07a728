# Small built-in tables.

from typing import Any

import numpy as np

class Bunch:
    data: np.ndarray[Any, np.dtype[np.float64]]
    target: np.ndarray[Any, np.dtype[np.int64]]
    target_names: np.ndarray[Any, np.dtype[Any]]
    feature_names: list[str]

def load_iris() -> Bunch: ...
def load_wine() -> Bunch: ...
def load_breast_cancer() -> Bunch: ...
def load_digits() -> Bunch: ...
