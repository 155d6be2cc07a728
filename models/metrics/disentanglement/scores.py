"""All scores of disentanglement of one code, and the codes that it is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np

from models.contract.task import Array, Split
from models.metrics.disentanglement.beta_vae import beta_vae_score
from models.metrics.disentanglement.dci import dci
from models.metrics.disentanglement.factor_vae import factor_vae_score
from models.metrics.disentanglement.mutual_information import mutual_information_gap
from models.metrics.disentanglement.separated_attributes import separated_attribute_predictability

GROUP = "disentanglement"
MOST_EXAMPLES = 10_000
SPLITS = ("test", "validation", "train")
FEW_PAIRS = 10
ENCODED_TOGETHER = 512
SEED = 0

Encode = Callable[[Array], Array]
"""Returns codes (count, dimensions) of images (count, height, width[, channels]) float32 in the dataset's scale."""


def scores(codes: Array, factors: Array, seed: int = SEED) -> dict[str, float]:
    """Return every score of ``codes`` (examples, dimensions), the larger the better; the same each time."""
    exact = codes.astype(np.float64)

    def random() -> np.random.Generator:
        return np.random.Generator(np.random.Philox(seed))

    forests = dci(exact, factors, random())
    return {
        "beta_vae": beta_vae_score(exact, factors, random()),
        "beta_vae_of_10_pairs": beta_vae_score(exact, factors, random(), FEW_PAIRS),
        "factor_vae": factor_vae_score(exact, factors, random()),
        "mig": mutual_information_gap(exact, factors),
        "sap": separated_attribute_predictability(exact, factors),
        "dci_disentanglement": forests.disentanglement,
        "dci_completeness": forests.completeness,
        "dci_informativeness": forests.informativeness,
    }


def report(
    splits: Mapping[str, Split], encode: Encode, untrained: Encode, dimensions: int
) -> dict[str, dict[str, float]]:
    """Return the scores of a trained code and of its baselines, by group.

    All are scored on the same images, at most ``MOST_EXAMPLES``, those that were not trained on first.

    Args:
        splits: with ``images`` and ``factors``.
        encode: the trained code, asked for ``ENCODED_TOGETHER`` images at a time.
        untrained: that of the same network before its training, asked in the same way.
        dimensions: of the code, and so many components PCA and FastICA get.
    """
    images, factors = examples(splits)
    flat = images.reshape(len(images), -1).astype(np.float64)
    codes = {
        GROUP: _encoded(encode, images),
        f"{GROUP}_untrained": _encoded(untrained, images),
        f"{GROUP}_pca": principal_components(flat, dimensions),
        f"{GROUP}_fastica": independent_components(flat, dimensions),
        f"{GROUP}_raw_pixels": flat,
    }
    return {group: scores(code, factors) for group, code in codes.items()}


def _encoded(encode: Encode, images: Array) -> Array:
    begins = range(0, len(images), ENCODED_TOGETHER)
    return np.concatenate([encode(images[begin : begin + ENCODED_TOGETHER].astype(np.float32)) for begin in begins])


def examples(splits: Mapping[str, Split]) -> tuple[Array, Array]:
    """Return images and factors on which codes are scored."""
    chosen = [splits[name] for name in SPLITS if name in splits]
    images, factors = (np.concatenate([split[name] for split in chosen]) for name in ("images", "factors"))
    return images[:MOST_EXAMPLES], factors[:MOST_EXAMPLES]


def principal_components(flat: Array, dimensions: int) -> Array:
    """Return the first principal components (examples, dimensions) of ``flat`` (examples, values)."""
    from sklearn.decomposition import PCA  # noqa: PLC0415 - see the package

    return PCA(_components(flat, dimensions), svd_solver="randomized", random_state=SEED).fit_transform(flat)


def independent_components(flat: Array, dimensions: int) -> Array:
    """Return independent components (examples, dimensions) of ``flat`` (examples, values), by FastICA."""
    from sklearn.decomposition import FastICA  # noqa: PLC0415 - see the package
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - see the package

    with warnings.catch_warnings():
        # Positions have no independent components to converge to; what was found by then is the baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = FastICA(_components(flat, dimensions), whiten="unit-variance", random_state=SEED)
        return found.fit_transform(flat)


def _components(flat: Array, dimensions: int) -> int:
    return min(dimensions, *flat.shape)
