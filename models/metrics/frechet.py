"""Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al. 2017, Eq. 6)."""

from __future__ import annotations

import numpy as np

from models.contract.task import Array


def frechet_distance(one: Array, other: Array) -> float:
    """Return ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of features (count, dimensions), computed in float64.

    Sets of unlike size are no cause of concern, small ones are: the distance of two finite draws from one distribution
    is above zero, by about as much as they are few.

    Raises:
        ValueError: a set has fewer than two rows, or they have unlike dimensions.
    """
    if min(len(one), len(other)) < 2 or one.shape[1:] != other.shape[1:]:
        message = f"cannot compare features of {one.shape} and {other.shape}"
        raise ValueError(message)
    (mean_one, covariance_one), (mean_other, covariance_other) = _moments(one), _moments(other)
    root = _root(covariance_one)
    # Eigenvalues of Σ₁ Σ₂ are those of the symmetric Σ₁^½ Σ₂ Σ₁^½, which rounding cannot make complex.
    eigenvalues = np.linalg.eigvalsh(root @ covariance_other @ root)
    cross = np.sqrt(eigenvalues.clip(min=0)).sum()
    shift = np.square(mean_one - mean_other).sum()
    return float(max(0.0, shift + np.trace(covariance_one) + np.trace(covariance_other) - 2 * cross))


def _moments(features: Array) -> tuple[Array, Array]:
    rows = features.astype(np.float64)
    return rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False))


def _root(covariance: Array) -> Array:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
