"""Log-likelihood under Gaussian Parzen windows around samples (Breuleux et al. 2011; Goodfellow et al. 2014, §5).

It is reported because the paper reports it, and decides nothing: in many dimensions it ranks models almost at will, and
k-means beats the training images themselves (Theis, van den Oord, Bethge 2016, §3.2 and Table 1).
"""

from __future__ import annotations

import math

import numpy as np

from models.contract.task import Array
from models.metrics.distances import squared_distances

BANDWIDTHS = tuple(float(width) for width in np.logspace(-1, 0, 10))
"""Standard deviations tried, of images in [0, 1]; the same as in the authors' program."""


def parzen_log_likelihood(samples: Array, held_out: Array, bandwidth: float) -> float:
    """Return the mean of log 1/N Σ N(x; xᵢ, σ² I) over ``held_out`` (count, pixels), in nats, xᵢ the samples."""
    dimensions = samples.shape[1]
    exponents = squared_distances(held_out, samples) / (-2 * bandwidth**2)
    largest = exponents.max(axis=1, keepdims=True)
    sums = np.log(np.exp(exponents - largest).sum(axis=1)) + largest[:, 0]
    constant = math.log(len(samples)) + dimensions * math.log(bandwidth * math.sqrt(2 * math.pi))
    return float(sums.mean(dtype=np.float64)) - constant


def best_bandwidth(samples: Array, validation: Array) -> float:
    """Return that of ``BANDWIDTHS`` under which ``validation`` is likeliest."""
    return max(BANDWIDTHS, key=lambda width: parzen_log_likelihood(samples, validation, width))
