"""Verbs about given images: ``encode``, ``reconstruct`` and ``score``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, Codec, ServedModel
from models.generation.codes import Codes
from models.generation.images import check_count, generated, images_of, input_pointers
from models.generation.requests import MOST_WEIGHTS, InputsRequest, ScoreRequest

ENCODER = "encoder"
LIKELIHOOD = "likelihood"
ROWS_A_RUN = 512
"""Images × samples that one run scores: other requests get their turn between two runs."""

WORD = 8


def encode(model: ServedModel, request: InputsRequest) -> Codec:
    """Yield a run of the encoder; return mean and log-variance of each latent."""
    mean, log_variance = yield from encoded(images_of(model, request.inputs, input_pointers(len(request.inputs))))
    pairs = zip(mean, log_variance, strict=True)
    return [{"mean": one, "log_variance": other} for one, other in pairs]


def reconstruct(model: ServedModel, request: InputsRequest) -> Codec:
    """Yield a run of the encoder and one of the generator; return the image of each mean latent."""
    check_count(model, len(request.inputs), "/inputs")
    mean, _ = yield from encoded(images_of(model, request.inputs, input_pointers(len(request.inputs))))
    images = yield from generated(Codes.of(model), mean)
    return [{"image": image} for image in images]


def score(model: ServedModel, request: ScoreRequest) -> Codec:
    """Yield a run of the encoder and runs of ``likelihood`` over latents drawn from it; return bounds of log p(x).

    With w = p(x|z) p(z) / q(z|x), z ~ q: the ELBO is E[log w] (Kingma and Welling 2014, Eq. 2) with its divergence in
    closed form (Eq. 3, SGVB B), the importance-weighted bound log 1/k Σ w (Burda, Grosse, Salakhutdinov 2016, Eq. 8).
    The noise of an image is keyed with the image itself, so that it does not depend on what it is asked with.
    """
    count, samples = len(request.inputs), request.samples
    if count * samples > MOST_WEIGHTS:
        detail = f"times the number of inputs is {count * samples}; at most {MOST_WEIGHTS} are drawn per request"
        raise ValidationFailed.at("/samples", detail)
    images = images_of(model, request.inputs, input_pointers(count))
    mean, log_variance = (array.astype(np.float64) for array in (yield from encoded(images)))
    noise = np.stack([noise_of(image, request.seed, samples, mean.shape[1]) for image in images])
    latents = mean[:, None] + np.exp(log_variance / 2)[:, None] * noise  # (count, samples, latent)
    likelihoods = yield from _likelihoods(images, latents)
    # log p(z) − log q(z|x); the constants of both densities are equal
    ratio = (noise**2 - latents**2 + log_variance[:, None]).sum(axis=2) / 2
    divergence = divergences(mean, log_variance).sum(axis=1)
    reconstruction = likelihoods.mean(axis=1)
    bound = _log_mean_exp(likelihoods + ratio)
    return [
        {
            "elbo": float(reconstruction[row] - divergence[row]),
            "importance_bound": float(bound[row]),
            "reconstruction": float(reconstruction[row]),
            "divergence": float(divergence[row]),
        }
        for row in range(count)
    ]


def encoded(images: Array) -> Generator[Call, Arrays, tuple[Array, Array]]:
    """Yield a run of the encoder; return mean and log-variance (batch, latent)."""
    outputs = yield Call(ENCODER, {"images": images})
    return outputs["mean"], outputs["log_variance"]


def divergences(mean: Array, log_variance: Array) -> Array:
    """Return KL(N(mean, variance) ‖ N(0, 1)) per dimension in nats (Kingma and Welling 2014, appendix B)."""
    return (np.exp(log_variance) + mean**2 - 1 - log_variance) / 2


def noise_of(image: Array, seed: int, samples: int, width: int) -> Array:
    """Return standard normal noise (samples, width) float64 by ``seed`` and the float32 numbers of ``image`` alone.

    The rows of fewer samples are the first of more.
    """
    key = int.from_bytes(hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=WORD).digest(), "little")
    philox = np.random.Philox(key=np.array([seed, key], np.uint64))  # a list of such integers becomes float64
    return np.random.Generator(philox).standard_normal((samples, width))


def _likelihoods(images: Array, latents: Array) -> Generator[Call, Arrays, Array]:
    """Return log p(x|z) (count, samples) of latents (count, samples, latent)."""
    count, samples, width = latents.shape
    flat, found = latents.reshape(-1, width).astype(np.float32), np.empty(count * samples)
    for begin in range(0, count * samples, ROWS_A_RUN):
        rows = np.arange(begin, min(begin + ROWS_A_RUN, count * samples))
        outputs = yield Call(LIKELIHOOD, {"images": images[rows // samples], "latent": flat[rows]})
        found[rows] = outputs["log_likelihood"]
    return found.reshape(count, samples)


def _log_mean_exp(weights: Array) -> Array:
    largest = weights.max(axis=1, keepdims=True)
    return (largest + np.log(np.exp(weights - largest).sum(axis=1, keepdims=True)))[:, 0] - math.log(weights.shape[1])
