"""The timing task: after a spike, count the steps that a second input names, and fire then and only then.

After Gers, Schraudolph, Schmidhuber, "Learning Precise Timing with LSTM Recurrent Networks", JMLR 3 (2002), §3.3
(generating timed spikes). Departures: intervals are whole steps from 10 to 20, and there is one spike a sequence.
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array

SHORTEST, LONGEST = 10, 20
TIME = 24


def timing(count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Return inputs (count, 24, 2) float32, the spike and the interval over 20, and (count, 24) whether to fire."""
    intervals = random.integers(SHORTEST, LONGEST + 1, size=count)
    inputs = np.zeros((count, TIME, 2), np.float32)
    inputs[:, 0, 0] = 1
    inputs[:, :, 1] = (intervals / LONGEST)[:, None]
    return inputs, (np.arange(TIME) == intervals[:, None]).astype(np.float32)
