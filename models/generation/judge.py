"""A small classifier of a dataset's own classes, trained to measure generators with: its features and its guesses.

The Fréchet distance is made for the features of a network that knows the world (Heusel et al. 2017: Inception); of
small grey images that one knows nothing. A LeNet of the dataset's own labels does. Its scale is its own, so every
distance is told beside those of training images, of noise and of the untrained generator, by the same judge.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.task import Array
from models.nn.convolution import Convolution, Placement
from models.nn.linear import linear
from models.optimization import adam, take_step

FEATURES = 84
"""Of the layer before the last, as in LeNet-5."""

CHANNELS = (16, 32)
KERNEL = 5
EPOCHS = 20
FEWEST_STEPS, MOST_STEPS = 200, 1_000
BATCH = 128
RATE = 2e-3
MOMENT_DECAY = 0.9
ROWS_AT_ONCE = 1_000


class Judge:
    """A convolutional network of two layers with pooling; the same training images give the same judge."""

    def __init__(self, images: Array, labels: Array, classes: int) -> None:
        """Train on ``images`` (count, height, width[, channels]) in [0, 1] and their ``labels`` (count,)."""
        generator = torch.Generator().manual_seed(0)
        planes, sides = (images.shape[3] if images.ndim == 4 else 1), images.shape[1:3]
        placement = Placement(((KERNEL // 2, KERNEL // 2), (KERNEL // 2, KERNEL // 2)))
        layers: list[nn.Module] = []
        for channels in CHANNELS:
            layers += [Convolution((channels, planes, KERNEL, KERNEL), placement, generator), nn.ReLU()]
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            planes, sides = channels, tuple(-(-side // 2) for side in sides)
        width = planes * sides[0] * sides[1]
        self._trunk = nn.Sequential(*layers, nn.Flatten(), linear(width, FEATURES, generator), nn.ReLU())
        self._head = linear(FEATURES, classes, generator)
        self._train(images, labels, generator)

    def features(self, images: Array) -> Array:
        """Return the activations (count, FEATURES) before the last layer, float32."""
        with torch.inference_mode():
            chunks = [self._trunk(_planes(images[i : i + ROWS_AT_ONCE])) for i in range(0, len(images), ROWS_AT_ONCE)]
            return torch.cat(chunks).numpy()

    def classify(self, features: Array) -> Array:
        """Return the likeliest class (count,) int64 of each row of :meth:`features`."""
        with torch.inference_mode():
            return self._head(torch.from_numpy(features)).argmax(dim=1).numpy()

    def _train(self, images: Array, labels: Array, generator: torch.Generator) -> None:
        parameters = [*self._trunk.parameters(), *self._head.parameters()]
        optimizer = adam(parameters, RATE, MOMENT_DECAY)
        steps = min(MOST_STEPS, max(FEWEST_STEPS, EPOCHS * len(images) // BATCH))
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
            chosen = torch.randint(len(images), (BATCH,), generator=generator).numpy()
            logits = self._head(self._trunk(_planes(images[chosen])))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[chosen].astype(np.int64)))
            optimizer.zero_grad(set_to_none=True)
            cast("Any", loss).backward()
            take_step(optimizer)


def _planes(images: Array) -> Tensor:
    rows = torch.from_numpy(images.astype(np.float32))
    return rows.unsqueeze(1) if rows.ndim == 3 else rows.permute(0, 3, 1, 2)
