"""The FactorVAE score: which dimension varies least where one factor is held? (Kim and Mnih 2018, §4).

Images that share the class of a factor vote with the dimension whose variance, in units of its variance over all
images, is smallest; a majority table says of each dimension which factor it stands for.
"""

from __future__ import annotations

import numpy as np

from models.contract.task import Array
from models.metrics.disentanglement.groups import Groups

TRAINED_VOTES, SCORED_VOTES = 10_000, 5_000
SAMPLES = 64
WIDE_CODE = 100
WIDE_SHARE = 5
LEAST_VARIANCE = 0.05
"""Of a dimension beside the largest of the code; what varies less is left out, as a dimension that is never used would
win every vote.
"""

GATHERED_NUMBERS = 2**23


def factor_vae_score(codes: Array, factors: Array, random: np.random.Generator, samples: int = SAMPLES) -> float:
    """Return the share of votes from which the held factor is found, 1 / factors by chance.

    Args:
        codes: (examples, dimensions).
        factors: (examples, factors) classes.
        random: draws votes and their images.
        samples: images per vote.
    """
    variances = codes.var(axis=0)
    used = variances > LEAST_VARIANCE * variances.max(initial=0.0)
    if not used.any():
        return 1 / factors.shape[1]
    scaled, groups = codes[:, used] / np.sqrt(variances[used]), Groups(factors)
    share = WIDE_SHARE if scaled.shape[1] > WIDE_CODE else 1
    trained, scored = TRAINED_VOTES // share, SCORED_VOTES // share
    held = random.integers(factors.shape[1], size=trained + scored)
    first = random.integers(len(codes), size=trained + scored)
    least = np.empty(len(held), np.int64)
    for factor in range(factors.shape[1]):
        own = np.flatnonzero(held == factor)
        rows = max(1, GATHERED_NUMBERS // (samples * scaled.shape[1]))
        for begin in range(0, len(own), rows):
            chosen = own[begin : begin + rows]
            classes = np.repeat(factors[first[chosen], factor][:, None], samples, axis=1)
            least[chosen] = scaled[groups.alike(factor, classes, random)].var(axis=1).argmin(axis=1)
    votes = np.zeros((scaled.shape[1], factors.shape[1]), np.int64)
    np.add.at(votes, (least[:trained], held[:trained]), 1)
    return float((votes.argmax(axis=1)[least[trained:]] == held[trained:]).mean())
