"""How many requests a key may send: a bucket of tokens for each, in the memory of one gateway."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class Rates:
    """Takes ``burst`` requests of one key at once and ``per_second`` in the long run; 0 takes all."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with full buckets."""
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def wait_seconds(self, key_id: str) -> int:
        """Count a request and return 0, or return after how many seconds the next one of this key is taken."""
        if not self._per_second:
            return 0
        now = self._clock()
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._per_second)
        bucket.filled = now
        if bucket.tokens < 1.0:
            return math.ceil((1.0 - bucket.tokens) / self._per_second)
        bucket.tokens -= 1.0
        return 0
