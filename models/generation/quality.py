"""How good drawn images are, beside what the same measures say of training images, noise and an untrained generator.

Called by families at the end of a job (``Family.report``), on what the exported generator draws. Images in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models.contract.task import Array, Split
from models.data.images.facts import ImageFacts
from models.generation.judge import Judge
from models.metrics.coverage import coverage
from models.metrics.distances import nearest_distances
from models.metrics.frechet import frechet_distance
from models.metrics.parzen import best_bandwidth, parzen_log_likelihood

MOST_IMAGES = 10_000
"""Drawn, and of each split, of which distances are taken."""

MOST_NUMBERS = 2**27
"""Of the training images that are kept as float32, half a gigabyte; drawn and held-out images are a quarter at most."""

MOST_COMPARED = 1_000
"""Drawn and held-out images that are looked for among all training images, or whose likelihood is taken."""

Draw = Callable[[int], Array]
"""Returns as many images (count, height, width[, channels]) in [0, 1]."""


@dataclass(frozen=True)
class Images:
    """Images in [0, 1] (count, height, width[, channels]) and their labels (count,), all alike where there are none."""

    images: Array
    labels: Array

    @classmethod
    def of(cls, split: Split, facts: ImageFacts, most: int) -> Images:
        """Return those of a split, scaled; of more than ``most`` as many from all over it."""
        low, high = facts.value_range
        images = _some(split["images"], most)
        labels = _some(split["labels"], most) if "labels" in split else np.zeros(len(images), np.int64)
        return cls(((images - np.float32(low)) / np.float32(high - low)).astype(np.float32), labels)


def sample_quality(draw: Draw, untrained: Draw, splits: Mapping[str, Split], facts: ImageFacts) -> dict[str, float]:
    """Return the scores of what ``draw`` draws, each beside its anchors.

    ``fid`` is the Fréchet distance to the test images in a classifier's features; ``fid_of_training_images``,
    ``fid_of_noise`` and ``fid_of_untrained`` are what it is for those. ``classes_covered``, ``least_class_share`` and
    ``class_divergence`` tell which classes that classifier finds. ``neighbour_ratio`` is the median distance of a drawn
    image to its nearest training image by that of a test image: far below 1 is learnt by heart.
    ``parzen_log_likelihood`` is of the test images, beside ``parzen_of_training_images``; it decides nothing.

    Args:
        draw: draws from the trained generator.
        untrained: draws from one as it was before training.
        splits: of the dataset; the test is the validation split where there is no other, or the training split.
        facts: of the images.

    Returns:
        The scores; without those by classes where there is one class only, or one image held out, and none of a single
        training image.
    """
    fit = MOST_NUMBERS // math.prod(facts.shape)
    most = min(MOST_IMAGES, max(fit // 4, 2))
    train = Images.of(splits["train"], facts, max(fit, 2))
    held_out = Images.of(splits.get("test", splits.get("validation", splits["train"])), facts, most)
    if len(train.images) < 2:
        return {}
    drawn = draw(min(most, max(len(held_out.images), MOST_COMPARED)))
    scores = _distances(drawn, train, held_out) | _likelihoods(drawn, train, held_out)
    if len(facts.classes) > 1 and len(held_out.images) > 1:
        scores |= _judged(drawn, untrained, train, held_out, len(facts.classes))
    return scores


def _judged(drawn: Array, untrained: Draw, train: Images, held_out: Images, classes: int) -> dict[str, float]:
    judge = Judge(train.images, train.labels, classes)
    truth = judge.features(held_out.images)
    noise = np.random.default_rng(0).random((len(drawn), *drawn.shape[1:]), np.float32)
    features = judge.features(drawn)
    found = coverage(judge.classify(features), train.labels.astype(np.int64), classes)
    right = judge.classify(truth) == held_out.labels
    return {
        "fid": frechet_distance(features, truth),
        "fid_of_training_images": frechet_distance(judge.features(_some(train.images, len(drawn))), truth),
        "fid_of_noise": frechet_distance(judge.features(noise), truth),
        "fid_of_untrained": frechet_distance(judge.features(untrained(len(drawn))), truth),
        "judge_accuracy": float(right.mean()),
        "classes_covered": float(found.covered),
        "least_class_share": found.least_share,
        "class_divergence": found.divergence,
    }


def _distances(drawn: Array, train: Images, held_out: Images) -> dict[str, float]:
    """Compare distances to the nearest training image of drawn and of held-out images."""
    known = _rows(train.images)
    ours = float(np.median(nearest_distances(_rows(drawn[:MOST_COMPARED]), known)))
    theirs = float(np.median(nearest_distances(_rows(_some(held_out.images, MOST_COMPARED)), known)))
    return {"neighbour_distance": ours, "neighbour_distance_of_test_images": theirs} | (
        {"neighbour_ratio": ours / theirs} if theirs > 0 else {}
    )


def _likelihoods(drawn: Array, train: Images, held_out: Images) -> dict[str, float]:
    """Take the last training images, of which no window is made, to choose the bandwidth."""
    count = min(MOST_COMPARED, len(train.images) // 2)
    validation, rest = _rows(train.images[len(train.images) - count :]), train.images[: len(train.images) - count]
    test = _rows(_some(held_out.images, MOST_COMPARED))
    found: dict[str, float] = {}
    named = {"parzen_log_likelihood": drawn, "parzen_of_training_images": _some(rest, len(drawn))}
    for name, images in named.items():
        samples = _rows(images)
        found[name] = parzen_log_likelihood(samples, test, best_bandwidth(samples, validation))
    return found


def _some(images: Array, count: int) -> Array:
    """Return ``count`` images from all over the split, or all there are."""
    return images[np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)]


def _rows(images: Array) -> Array:
    return images.reshape(len(images), -1)
