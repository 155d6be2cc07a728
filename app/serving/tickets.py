"""What a request carries through the queues of the parts it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HIGHEST_PRIORITY = 1
LOWEST_PRIORITY = 3
DEFAULT_PRIORITY = 2


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def _nobody_left() -> bool:
    return False


@dataclass(slots=True, eq=False)
class Ticket:
    """One request on its way.

    Attributes:
        priority: from 1, which goes first, to 3.
        begun: when its body was whole, by ``time.perf_counter``; its own timeout counts from there.
        deadline: moment of the same clock after which no answer is wanted; None is never.
        left: tells whether the client has gone; asked when the request had to wait.
        queue_seconds: how long its runs waited.
        infer_seconds: how long the graphs computed for it.
    """

    priority: int = DEFAULT_PRIORITY
    begun: float = 0.0
    deadline: float | None = None
    left: Callable[[], bool] = _nobody_left
    queue_seconds: float = 0.0
    infer_seconds: float = 0.0
