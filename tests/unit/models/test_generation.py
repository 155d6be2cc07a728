"""The task ``generation`` on a model whose answers are known: draws, codes, walks, bounds, pictures and refusals."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.contract.errors import ValidationFailed
from models.contract.task import Arrays, ServedModel, Split, answer, evaluate
from models.contract.tensors import PartSignature, TensorSignature
from models.generation.codes import Code, Codes, declared
from models.generation.encoding import divergences, noise_of
from models.generation.images import rounded
from models.generation.requests import MOST_SAMPLES, MOST_STEPS
from models.generation.task import TASK
from models.generation.walking import between

META = {
    "height": 2,
    "width": 3,
    "channels": None,
    "value_range": [0, 255],
    "pixel_mean": 100.0,
    "pixel_standard_deviation": 50.0,
}
IMAGES = TensorSignature(name="images", shape=("batch", 2, 3))
LATENT = TensorSignature(name="latent", shape=("batch", 2))
ENCODER = PartSignature(inputs=(IMAGES,), outputs=(LATENT,))
GENERATOR = PartSignature(inputs=(LATENT,), outputs=(IMAGES,))
NAMED = (
    Code(name="c1", distribution="categorical", size=3),
    Code(name="c2", distribution="uniform"),
    Code(name="noise", size=4, steers=False),
)


def _vae() -> ServedModel:
    """The first latent number is the brightness of the first row, the second that of the second; in [0, 1]."""
    assets = declared([Code(name="latent", size=2)])
    assets |= {"divergence_per_dimension": [0.5, 2.5], "activity_per_dimension": [0.001, 0.9]}
    signatures = {"encoder": ENCODER, "generator": GENERATOR, "likelihood": ENCODER}
    return ServedModel("rows", "vae", {}, META, assets, signatures)


def _info() -> ServedModel:
    return ServedModel("named", "infogan", {}, META, declared(NAMED), {"generator": GENERATOR})


def _run(part: str, arrays: Arrays) -> Arrays:
    if part == "encoder":
        images = arrays["images"] / 255
        return {"mean": images.mean(axis=2), "log_variance": np.full((len(images), 2), LOG_VARIANCE, np.float32)}
    if part == "likelihood":  # log N(x; z, 1) of the first pixel, a model whose log p(x) is known
        gap = arrays["images"][:, 0, 0] / 255 - arrays["latent"][:, 0]
        return {"log_likelihood": -(gap**2 + math.log(2 * math.pi)) / 2}
    if "c1" in arrays:
        assert arrays["c1"].dtype == np.int64
        assert arrays["c2"].shape == (len(arrays["c1"]), 1)
        shade = arrays["c1"] / 4 + arrays["c2"][:, 0] / 8 + 0.125 + arrays["noise"][:, 0] * 0
        return {"images": np.broadcast_to(shade[:, None, None], (len(shade), 2, 3)).astype(np.float32)}
    return {"images": np.repeat(arrays["latent"][:, :, None], 3, axis=2)}


def _ask(verb: str, body: dict[str, Any], model: ServedModel | None = None) -> Any:  # noqa: ANN401 - read by key
    found = TASK.verbs[verb]
    return answer(found.codec(model or _vae(), found.request.model_validate(body)), _run)


def _refused(verb: str, body: dict[str, Any], model: ServedModel | None = None) -> tuple[str, str]:
    found = TASK.verbs[verb]
    with pytest.raises(ValidationFailed) as refused:
        answer(found.codec(model or _vae(), found.request.parse(body)), _run)  # type: ignore[attr-defined]
    return refused.value.errors[0].pointer, refused.value.errors[0].detail


LOG_VARIANCE = 0.1
"""Of the encoder: somewhat wider than the true posterior, as importance weights need."""

IMAGE = [[255.0, 255, 255], [51, 51, 51]]


def test_sample_k_depends_on_seed_and_k_alone() -> None:
    """Whatever the count, each image is that which the seed has at its place; another seed has others."""
    many, few, other = (
        [item["image"].tolist() for item in _ask("sample", {"count": count, "seed": seed})]
        for count, seed in ((40, 7), (3, 7), (40, 8))
    )
    assert many[:3] == few
    assert len({str(image) for image in [*many, *other]}) > 45


def test_noise_of_an_image_differs_from_that_of_every_other_image_and_seed() -> None:
    """Keys are 64 whole bits: those beyond 2⁶³, and seeds beyond 2⁵³, keep the last of them."""
    images = np.arange(40, dtype=np.float32).reshape(40, 1)
    seeds = [0, 1, 2**53, 2**53 + 1, 2**62, 2**62 + 1, 2**63 - 1]
    drawn = {float(noise_of(image, seed, 1, 1)[0, 0]) for image in images for seed in seeds}
    assert len(drawn) == len(images) * len(seeds)
    assert np.array_equal(noise_of(images[3], 5, 7, 2)[:4], noise_of(images[3], 5, 4, 2))


def test_normal_draws_are_standard_normal() -> None:
    drawn = Code(name="latent", size=8).draw(3, 0, 4_000)
    assert np.abs(drawn.mean(axis=0)).max() < 0.06
    assert np.abs(drawn.std(axis=0) - 1).max() < 0.05
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 0.07


def test_uniform_and_categorical_draws_cover_their_range() -> None:
    uniform = Code(name="c", distribution="uniform", low=-2.0, high=1.0).draw(0, 1, 4_000)
    assert -2 <= uniform.min() < -1.99
    assert 0.99 < uniform.max() <= 1
    counts = np.bincount(NAMED[0].draw(0, 2, 3_000)[:, 0].astype(int), minlength=3)
    assert counts.min() > 900


def test_a_given_code_leaves_the_others_as_they_are() -> None:
    free, fixed = (_ask("sample", {"count": 9, "codes": codes}, _info()) for codes in ({}, {"c1": 2}))
    assert [item["codes"]["c2"] for item in free] == [item["codes"]["c2"] for item in fixed]
    assert {item["codes"]["c1"] for item in fixed} == {2}
    assert len({item["codes"]["c1"] for item in free}) == 3
    assert "noise" not in free[0]["codes"]
    assert "codes" not in _ask("sample", {"count": 1})[0]


def test_values_are_whole_parts_of_65535_within_their_range() -> None:
    values = rounded(np.array([-0.5, 0.1, 0.5, 1.7]))
    assert values.tolist() == [0.0, np.float32(6_554 / 65_535), np.float32(32_768 / 65_535), 1.0]
    assert rounded(np.array([0.1 + 1e-7])).tolist() == rounded(np.array([0.1])).tolist()


def test_encode_and_reconstruct_answer_per_input() -> None:
    encoded = _ask("encode", {"inputs": [IMAGE, IMAGE[::-1]]})
    assert [item["mean"].tolist() for item in encoded] == [[1.0, np.float32(0.2)], [np.float32(0.2), 1.0]]
    reconstructed = _ask("reconstruct", {"inputs": [IMAGE]})
    assert reconstructed[0]["image"] == pytest.approx(np.array(IMAGE) / 255, abs=1e-5)


def test_encoded_pictures_are_read_by_the_rules_of_the_dataset() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array(IMAGE, np.uint8)).save(buffer, "PNG")
    picture = {"image": base64.b64encode(buffer.getvalue()).decode()}
    assert _ask("encode", {"inputs": [picture]})[0]["mean"].tolist() == [1.0, np.float32(0.2)]
    bare = TASK.verbs["encode"].media["image/png"](buffer.getvalue())
    read: Any = answer(TASK.verbs["encode"].codec(_vae(), bare), _run)
    assert read[0]["mean"].tolist() == [1.0, np.float32(0.2)]


POINTS = [
    pytest.param({"input": IMAGE}, [1.0, 0.2], id="input"),
    pytest.param(IMAGE, [1.0, 0.2], id="bare input"),
    pytest.param([255.0, 255, 255, 51, 51, 51], [1.0, 0.2], id="flat input"),
    pytest.param({"latent": [0.25, 0.75]}, [0.25, 0.75], id="latent"),
    pytest.param([0.25, 0.75], [0.25, 0.75], id="bare latent"),
]


@pytest.mark.parametrize(("start", "latent"), POINTS)
def test_interpolation_goes_from_start_to_end_at_equal_steps(start: object, latent: list[float]) -> None:
    found = _ask("interpolate", {"start": start, "end": {"latent": [0.0, 1.0]}, "steps": 5})
    rows = np.array([item["image"][:, 0] for item in found])
    assert rows == pytest.approx(np.linspace(latent, [0.0, 1.0], 5), abs=1e-5)


def test_interpolation_from_a_seed_begins_at_its_first_sample() -> None:
    found = _ask("interpolate", {"start": {"seed": 5}, "end": {"seed": 6}, "steps": 2})
    firsts = [_ask("sample", {"count": 1, "seed": seed})[0]["image"].tolist() for seed in (5, 6)]
    assert [item["image"].tolist() for item in found] == firsts


def test_spherical_interpolation_keeps_lengths_and_angles() -> None:
    """Between (1, 0) and (0, 1): a quarter of a circle in equal angles; a straight line would cut through it."""
    codes, fractions = Codes([Code(name="latent", size=2)]), np.linspace(0, 1, 4)
    found = between(codes, np.array([1.0, 0.0]), np.array([0.0, 1.0]), fractions, spherical=True)
    angles = np.pi / 2 * fractions
    assert found == pytest.approx(np.stack([np.cos(angles), np.sin(angles)], axis=1), abs=1e-6)
    parallel = between(codes, np.array([1.0, 1.0]), np.array([3.0, 3.0]), fractions, spherical=True)
    assert parallel == pytest.approx(np.linspace([1, 1], [3, 3], 4), abs=1e-6)
    zero = between(codes, np.zeros(2), np.ones(2), fractions, spherical=True)
    assert zero == pytest.approx(np.linspace([0, 0], [1, 1], 4), abs=1e-6)


def test_categories_change_in_the_middle_of_a_walk() -> None:
    latents = between(Codes(NAMED[:1]), np.array([0.0]), np.array([2.0]), np.linspace(0, 1, 5), spherical=False)
    assert latents[:, 0].tolist() == [0, 0, 2, 2, 2]


def test_traversal_varies_one_dimension_at_a_time() -> None:
    found = _ask("traverse", {"input": IMAGE, "dimensions": [0, 1], "low": 0, "high": 1, "steps": 3})
    assert [item["dimension"] for item in found] == [0, 1]
    assert [item["values"] for item in found] == [[0.0, 0.5, 1.0]] * 2
    assert found[0]["images"][:, :, 0] == pytest.approx(np.array([[0, 0.2], [0.5, 0.2], [1, 0.2]]), abs=1e-5)
    assert found[1]["images"][:, :, 0] == pytest.approx(np.array([[1, 0], [1, 0.5], [1, 1]]), abs=1e-5)
    assert [item["inert"] for item in found] == [True, False]


def test_traversal_by_default_begins_with_what_tells_most() -> None:
    found = _ask("traverse", {})
    assert [(item["dimension"], item["divergence"]) for item in found] == [(1, 2.5), (0, 0.5)]
    assert found[0]["values"] == np.linspace(-3, 3, 9).tolist()


def test_traversal_of_named_codes_takes_categories_and_ranges() -> None:
    found = _ask("traverse", {"seed": 3, "codes": {"c1": 1}, "steps": 5}, _info())
    assert [item["dimension"] for item in found] == ["c1", "c2"]
    assert found[0]["values"] == [0, 1, 2]
    assert found[1]["values"] == [-1, -0.5, 0, 0.5, 1]
    assert found[1]["images"][:, 0, 0] == pytest.approx(0.375 + np.linspace(-1, 1, 5) / 8, abs=1e-4)
    assert "inert" not in found[0]
    wide = _ask("traverse", {"dimensions": ["c2"], "low": -2, "high": 2, "steps": 2}, _info())
    assert wide[0]["values"] == [-2, 2]


def test_divergence_is_that_of_normal_distributions() -> None:
    """Against the integral, taken numerically."""
    mean, variance = 0.7, 0.3
    grid = np.linspace(-12, 12, 200_001)
    posterior = np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    ratio = (grid**2 - (grid - mean) ** 2 / variance - np.log(variance)) / 2
    integral = float((posterior * ratio).sum() * (grid[1] - grid[0]))
    assert float(divergences(np.array(mean), np.log(np.array(variance)))) == pytest.approx(integral, abs=1e-6)


def test_score_bounds_the_likelihood_and_more_samples_tighten_it() -> None:
    """With x = z + noise, both standard normal: log p(x) = log N(x; 0, 2), which both bounds stay below or reach."""
    exact = -(1.0 / 2 + math.log(2 * math.pi * 2)) / 2
    one, many = (_ask("score", {"inputs": [IMAGE], "samples": samples, "seed": 4})[0] for samples in (1, 4_096))
    # log p(x) − E[log p(x|z)] + KL, with q = N(1, variance) in the dimension that counts
    elbo = -(math.exp(LOG_VARIANCE) + math.log(2 * math.pi)) / 2 - many["divergence"]
    assert many["elbo"] == pytest.approx(elbo, abs=0.1)
    assert many["importance_bound"] == pytest.approx(exact, abs=0.05)
    assert many["elbo"] + 0.3 < many["importance_bound"]
    assert one["divergence"] == pytest.approx(divergences(np.array([1.0, 0.2]), np.full(2, LOG_VARIANCE)).sum())


def test_score_of_an_image_does_not_depend_on_what_it_is_asked_with() -> None:
    alone = _ask("score", {"inputs": [IMAGE], "samples": 7})[0]
    together = _ask("score", {"inputs": [IMAGE[::-1], IMAGE, IMAGE[::-1]], "samples": 7})
    assert together[1] == alone
    assert together[0] == together[2] != alone


def test_evaluation_scores_encoders_and_compares_samples_of_the_others() -> None:
    split: Split = {"images": np.array([IMAGE, IMAGE[::-1]] * 150, np.uint8)}
    found = evaluate(TASK, _vae(), split, _run)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["divergence"])
    assert found["divergence"] == pytest.approx(divergences(np.array([1.0, 0.2]), np.full(2, LOG_VARIANCE)).sum())
    assert found["active_dimensions"] == 2
    drawn = np.array([item["image"] for item in _ask("sample", {"count": 256}, _info())]).reshape(256, -1)
    chosen = np.linspace(0, 299, 256).astype(int)
    real = split["images"][chosen].reshape(256, -1) / 255

    def mean_distance(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.mean([np.linalg.norm(other - row, axis=1) for row in one]))

    within = mean_distance(drawn, drawn) + mean_distance(real, real)
    distance = (2 * mean_distance(drawn, real) - within) / np.sqrt(real.shape[1])
    assert evaluate(TASK, _info(), split, _run) == {"energy_distance": pytest.approx(distance, rel=1e-3)}


ASKED = [
    pytest.param("sample", {"count": 20, "codes": {"latent": [0.1, 0.2]}}, id="sample"),
    pytest.param("reconstruct", {"inputs": [IMAGE] * 3}, id="reconstruct"),
    pytest.param("interpolate", {"start": IMAGE, "end": [0.0, 0.0], "method": "spherical"}, id="interpolate"),
    pytest.param("traverse", {"seed": 1}, id="traverse"),
]


@pytest.mark.parametrize(("verb", "body"), ASKED)
def test_answers_are_drawn_as_one_picture(verb: str, body: dict[str, Any]) -> None:
    picture = TASK.verbs[verb].picture
    assert picture is not None
    request = picture.complete(_vae(), TASK.verbs[verb].request.model_validate(body))
    with Image.open(io.BytesIO(picture.draw(_vae(), request, _ask(verb, body)))) as found:
        assert found.format == "PNG"
        assert min(found.size) > 60


def test_colour_and_mixed_rows_are_drawn_as_well() -> None:
    found = _ask("traverse", {"seed": 3}, _info())
    picture = TASK.verbs["traverse"].picture
    assert picture is not None
    request = TASK.verbs["traverse"].request.model_validate({"seed": 3})
    colours = [{**item, "images": np.repeat(item["images"][..., None], 3, axis=3)} for item in found]
    sizes: list[tuple[int, int]] = []
    for predictions in (found, colours):
        with Image.open(io.BytesIO(picture.draw(_info(), request, predictions))) as drawn:
            sizes.append(drawn.size)
    assert sizes[0] == sizes[1]


WRONG: list[Any] = [
    pytest.param("sample", {"count": 0}, "/count", "greater", id="no samples"),
    pytest.param("sample", {"count": MOST_SAMPLES + 1}, "/count", str(MOST_SAMPLES), id="too many samples"),
    pytest.param("sample", {"seed": -1}, "/seed", "greater", id="negative seed"),
    pytest.param("sample", {"codes": {"c1": 3}}, "/codes/c1", "is no code of this model", id="unknown code"),
    pytest.param("sample", {"codes": {"a/b": 3}}, "/codes/a~1b", "is no code", id="odd name"),
    pytest.param("sample", {"codes": {"latent": [1]}}, "/codes/latent", "takes 2", id="short code"),
    pytest.param("sample", {"codes": {"latent": [1, "x"]}}, "/codes/latent/1", "not a number", id="text for a number"),
    pytest.param("sample", {"codes": {"latent": [1, 1e9]}}, "/codes/latent", "outside", id="huge number"),
    pytest.param("encode", {"inputs": []}, "/inputs", "at least 1", id="no inputs"),
    pytest.param("encode", {"inputs": [[[1, 2], [3, 4]]]}, "/inputs/0", "has shape [2, 2]", id="another size"),
    pytest.param("reconstruct", {"inputs": [IMAGE, "x"]}, "/inputs/1", "nested numbers", id="no image"),
    pytest.param("interpolate", {"start": IMAGE, "end": [1, 2, 3]}, "/end", "takes 2", id="long latent"),
    pytest.param("interpolate", {"start": {"x": 1}, "end": IMAGE}, "/start", "must be", id="no point"),
    pytest.param("interpolate", {"start": 3, "end": IMAGE}, "/start", "must be", id="a number"),
    pytest.param("interpolate", {"start": {"seed": -1}, "end": IMAGE}, "/start/seed", "whole", id="no seed"),
    pytest.param(
        "interpolate", {"start": {"seed": 1, "codes": []}, "end": IMAGE}, "/start/codes", "object", id="no codes"
    ),
    pytest.param("interpolate", {"start": IMAGE, "end": IMAGE, "steps": 1}, "/steps", "greater", id="one step"),
    pytest.param("interpolate", {"start": IMAGE}, "/end", "required", id="no end"),
    pytest.param("traverse", {"dimensions": [2]}, "/dimensions/0", "from 0 to 1", id="dimension beyond"),
    pytest.param("traverse", {"dimensions": [-1]}, "/dimensions/0", "from 0 to 1", id="negative dimension"),
    pytest.param("traverse", {"dimensions": ["c1"]}, "/dimensions/0", "no dimension", id="unknown name"),
    pytest.param("traverse", {"dimensions": [1, 1]}, "/dimensions", "twice", id="dimension twice"),
    pytest.param("traverse", {"low": 2, "high": 2}, "/low", "not below", id="low is high"),
    pytest.param("traverse", {"low": 4}, "/low", "not below", id="low above the default"),
    pytest.param("traverse", {"steps": MOST_STEPS + 1}, "/steps", str(MOST_STEPS), id="too many steps"),
    pytest.param("traverse", {"latent": [1]}, "/latent", "takes 2", id="short latent"),
    pytest.param("traverse", {"latent": [1, 2], "seed": 1}, "", "begin at one", id="two beginnings"),
    pytest.param("traverse", {"latent": [1, 2], "codes": {"c": 1}}, "", "beside a seed", id="codes with a latent"),
    pytest.param("traverse", {"input": [[1]]}, "/input", "has shape", id="input of another size"),
    pytest.param("score", {"inputs": [IMAGE] * 100, "samples": 4_096}, "/samples", "at most", id="too many weights"),
]


@pytest.mark.parametrize(("verb", "body", "pointer", "detail"), WRONG)
def test_wrong_requests_are_refused_by_field(verb: str, body: dict[str, Any], pointer: str, detail: str) -> None:
    found = _refused(verb, body)
    assert found[0] == pointer
    assert detail in found[1]


OUTSIDE = [
    pytest.param("sample", {"codes": {"c1": 3}}, "/codes/c1", "from 0 to 2", id="category beyond"),
    pytest.param("sample", {"codes": {"c1": 0.5}}, "/codes/c1", "from 0 to 2", id="half a category"),
    pytest.param("sample", {"codes": {"c2": 1.5}}, "/codes/c2", "outside its range, -1 to 1", id="beyond the range"),
    pytest.param("traverse", {"dimensions": [9]}, "/dimensions/0", "c1, c2", id="names are told"),
    pytest.param("traverse", {"latent": [3, 0, 0, 0, 0, 0]}, "/latent/0", "from 0 to 2", id="no such category"),
    pytest.param("traverse", {"input": IMAGE}, "/input", "no encoder", id="input without encoder"),
    pytest.param("interpolate", {"start": IMAGE, "end": {"seed": 1}}, "/start", "no encoder", id="end without encoder"),
]


@pytest.mark.parametrize(("verb", "body", "pointer", "detail"), OUTSIDE)
def test_named_codes_outside_their_range_are_refused(
    verb: str, body: dict[str, Any], pointer: str, detail: str
) -> None:
    found = _refused(verb, body, _info())
    assert found[0] == pointer
    assert detail in found[1]


def test_too_many_images_of_one_traversal_are_refused() -> None:
    wide = ServedModel("wide", "vae", {}, META, declared([Code(name="latent", size=32)]), {"generator": GENERATOR})
    pointer, detail = _refused("traverse", {"dimensions": list(range(32)), "steps": 200}, wide)
    assert pointer == "/steps"
    assert "6400 images" in detail
