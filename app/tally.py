"""A histogram that is cheap to feed: values are kept, and counted many at a time when somebody wants to see them.

One observation of the library takes a lock and adds one to a bucket in Python; a request makes seven. Belongs to the
event loop, as what feeds it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from prometheus_client import Histogram

KEPT = 4096
"""Values kept before they are counted though nobody looks."""


class Tally:
    """Feeds one histogram, labels bound."""

    def __init__(self, histogram: Histogram) -> None:
        """Keep nothing yet."""
        child = cast("Any", histogram)  # the fields of the pinned version; a test compares with observing one by one
        self._sum, self._buckets = child._sum, child._buckets  # noqa: SLF001 - as above
        self._bounds = np.array(child._upper_bounds)  # noqa: SLF001 - as above
        self._values: list[float] = []

    def observe(self, value: float, count: int = 1) -> None:
        """Count ``value``, so often, at the latest when asked to."""
        values = self._values
        if count == 1:
            values.append(value)
        else:
            values += [value] * count
        if len(values) >= KEPT:
            self.count()

    def extend(self, values: Iterable[float]) -> None:
        """Count each of ``values``."""
        self._values += values
        if len(self._values) >= KEPT:
            self.count()

    def count(self) -> None:
        """Count what was kept."""
        if not self._values:
            return
        values = np.array(self._values)
        self._values.clear()
        self._sum.inc(float(values.sum()))
        found = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._bounds))
        for bucket, number in zip(self._buckets, found.tolist(), strict=True):
            if number:
                bucket.inc(number)
