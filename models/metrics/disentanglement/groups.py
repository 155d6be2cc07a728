"""Examples that share the class of one factor, drawn from those there are."""

from __future__ import annotations

from typing import cast

import numpy as np

from models.contract.task import Array


class Groups:
    """The examples by the class of each factor."""

    def __init__(self, factors: Array) -> None:
        """Sort ``factors`` (examples, factors) once, one factor after another."""
        self.factors = factors
        self._order = np.argsort(factors, axis=0, kind="stable")
        self._ends = [np.cumsum(np.bincount(column)) for column in factors.T]

    def alike(self, factor: int, classes: Array, random: np.random.Generator) -> Array:
        """Return for each of ``classes`` (…) an example, drawn among those of this class of ``factor``."""
        ends = self._ends[factor]
        starts = np.concatenate([[0], ends[:-1]])
        drawn = cast("Array", random.random(classes.shape))
        places = cast("Array", starts[classes]) + (drawn * (ends - starts)[classes]).astype(np.int64)
        return self._order[places, factor]
